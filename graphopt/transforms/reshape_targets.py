"""States shapes as targets of Reshape, so that they mean the same for every input.

Source: https://onnx.ai/onnx/operators/onnx__Reshape.html
"""

from __future__ import annotations

from graphopt.ir import Shape
from graphopt.transforms.broadcasting import same_dim

__all__ = ["target_entries"]


def target_entries(wanted: Shape, have: Shape | None) -> tuple[int, ...] | None:
    """Entries of a Reshape target that always mean ``wanted``, ``None`` if there are none.

    Args:
        wanted: the shape to get, certainly of as many elements as the input.
        have: the shape of the input.
    """
    entries: list[int] = []
    copied = False
    for axis, size in enumerate(wanted):
        if isinstance(size, int) and size > 0:
            entries.append(size)
        elif have is not None and axis < len(have) and same_dim(size, have[axis]):
            entries.append(0)
            copied = True
        else:
            entries.append(-1)
    rest = entries.count(-1)
    if rest > 1 or (rest and (copied or 0 in wanted)):
        return None
    return tuple(entries)
