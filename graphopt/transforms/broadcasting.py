"""Says what is certain about shapes under ONNX broadcasting. ``None`` (unknown) is never equal to anything.

Source: https://onnx.ai/onnx/repo-docs/Broadcasting.html
"""

from __future__ import annotations

from graphopt.ir import Dim, Shape

__all__ = ["keeps_shape", "same_dim", "same_shape", "static_shape"]


def same_dim(a: Dim, b: Dim) -> bool:
    """Whether two sizes are certainly equal."""
    return a is not None and a == b


def same_shape(a: Shape | None, b: Shape | None) -> bool:
    """Whether two shapes are certainly equal.

    Example:
        >>> same_shape((2, None), (2, None))
        False
    """
    if a is None or b is None or len(a) != len(b):
        return False
    return all(map(same_dim, a, b))


def keeps_shape(shape: Shape | None, other: Shape | None) -> bool:
    """Whether broadcasting a tensor of shape ``shape`` with one of shape ``other`` certainly gives ``shape``.

    Example:
        >>> keeps_shape((2, 3, 4), (3, 1)), keeps_shape((1, 3), (2, 3)), keeps_shape(None, ())
        (True, False, True)
    """
    if other is None:
        return False
    if not other:
        return True
    if shape is None or len(other) > len(shape):
        return False
    return all(size == 1 or same_dim(size, dim) for size, dim in zip(reversed(other), reversed(shape), strict=False))


def static_shape(shape: Shape | None) -> tuple[int, ...] | None:
    """The shape when each size is a number, else ``None``."""
    if shape is None:
        return None
    found = tuple(dim for dim in shape if isinstance(dim, int))
    return found if len(found) == len(shape) else None
