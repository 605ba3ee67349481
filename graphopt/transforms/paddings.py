"""Reads what a Pad with constant pads puts around a tensor, in the spelling of each opset.

Source: https://onnx.ai/onnx/operators/onnx__Pad.html
"""

from __future__ import annotations

from dataclasses import dataclass

from graphopt.ir import Node, Value
from graphopt.rewriting import NoMatch
from graphopt.transforms.operands import ints_operand, normalize_axes

__all__ = ["Padding", "read_padding"]


@dataclass(frozen=True, slots=True)
class Padding:
    """Constant padding: pads of each axis at its start and end, and the number that is put there."""

    begins: tuple[int, ...]
    ends: tuple[int, ...]
    number: float

    @property
    def spatial(self) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """Pads of the axes after batch and channels, ``None`` if these two are padded or a pad is negative."""
        if any(self.begins[:2]) or any(self.ends[:2]) or min((*self.begins, *self.ends), default=0) < 0:
            return None
        return self.begins[2:], self.ends[2:]


def read_padding(pad: Node, x: Value, mode: str = "constant") -> Padding | NoMatch:
    """What a Pad puts around a tensor, if that is constant.

    Args:
        pad: the Pad.
        x: the tensor.
        mode: that it must have.
    """
    opset = pad.opset or 0
    if opset < 2 or pad.str_attr("mode", "constant") != mode:
        return NoMatch("mode is %r", pad.attr("mode"))
    pads = ints_operand(pad, "pads", 1)
    if not isinstance(pads, tuple):
        return pads if pads is not None else NoMatch("pads are absent")
    number = 0.0
    if mode != "constant":
        pass
    elif opset < 11:
        number = pad.float_attr("value", 0.0)
    elif (given := pad.input_at(2)) is not None:
        array = given.array()
        if array is None or array.size != 1 or array.dtype == object:
            return NoMatch("what is put there is not constant")
        number = float(array.reshape(-1)[0])
    rank = x.rank if x.rank is not None else pad.output.rank
    if pad.input_at(3) is None:
        half = len(pads) // 2
        return Padding(pads[:half], pads[half:], number)
    axes = ints_operand(pad, "axes", 3)
    if rank is None or not isinstance(axes, tuple):
        return NoMatch("axes are not constant or the rank is not known")
    axes = normalize_axes(axes, rank)
    if isinstance(axes, NoMatch) or len(pads) != 2 * len(axes):
        return NoMatch("axes do not fit to pads %s", pads)
    begins, ends = [0] * rank, [0] * rank
    for index, axis in enumerate(axes):
        begins[axis], ends[axis] = pads[index], pads[index + len(axes)]
    return Padding(tuple(begins), tuple(ends), number)
