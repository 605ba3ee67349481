"""Sizes under ONNX's (numpy's) broadcasting.

Source: https://onnx.ai/onnx/repo-docs/Broadcasting.html
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from graphopt.ir import Dim, Shape, SymbolicDim, dim_min, lower_bound

__all__ = ["broadcast_dims", "broadcast_shapes"]


def broadcast_dims(a: Dim, b: Dim) -> Dim:
    """The size of an axis that two tensors share, ``None`` when it may be either's."""
    if a == b:
        return a
    if a == 1:
        return b
    if b == 1:
        return a
    # A size that can't be 1 is the result, whatever the other is: a run with anything else but 1 there fails.
    if _is_not_one(a) and not isinstance(b, int):
        return a
    if _is_not_one(b) and not isinstance(a, int):
        return b
    # Sizes that are 1 together are equal in each run that does not fail.
    return a if _is_cut(b, a) else b if _is_cut(a, b) else None


def _is_not_one(dim: Dim) -> bool:
    if not isinstance(dim, SymbolicDim):
        return dim is not None  # 1 itself was met before
    if math.gcd(*(coef for _mono, coef in dim.terms)) > 1:
        return True
    bound = lower_bound(dim)
    return bound is not None and bound > 1


def _is_cut(cut: Dim, whole: Dim) -> bool:
    """Whether a size is the smaller of another one and some number above 1."""
    return (
        isinstance(cut, SymbolicDim)
        and isinstance(whole, SymbolicDim)
        and any(cut == dim_min(whole, n) for n in _numbers(cut))
    )


def _numbers(dim: SymbolicDim) -> list[int]:
    sides = [side for mono, _coef in dim.terms for atom in mono if not isinstance(atom, str) for side in atom[1:]]
    return [side for side in sides if isinstance(side, int) and side > 1]


def broadcast_shapes(shapes: Iterable[Shape | None]) -> Shape | None:
    """The shape of what tensors give together, ``None`` when the rank of one is unknown."""
    found: Shape = ()
    for shape in shapes:
        if shape is None:
            return None
        if not found or shape == found:
            found = shape if len(shape) >= len(found) else found
            continue
        if len(shape) < len(found):
            longer, shorter = found, shape
        else:
            longer, shorter = shape, found
        lead = len(longer) - len(shorter)
        found = longer[:lead] + tuple(map(broadcast_dims, longer[lead:], shorter))
    return found
