"""Constants in a narrower type: when they keep their meaning, and what they become.

Numbers that are as good as infinite (masks add -1e9, or the smallest float32) become the largest that the type has, or half of it where
they are added or multiplied, so that sums of two of them stay finite. Any other number out of range, and a tensor whose largest number
would lose more than 1 % or become 0 (an epsilon of 1e-12), is a reason to keep what reads it wide.
"""

from __future__ import annotations

from typing import Final

import ml_dtypes
import numpy as np

from graphopt.ir import Array, Constant, DType
from graphopt.rewriting import NoMatch

__all__ = ["changed_constant", "is_as_good_as_infinite", "why_not_narrow"]

#: Finite numbers from here on stand for infinity.
_HUGE: Final = 1e8
_LOST: Final = 0.01
#: Operators that compare with a constant rather than compute with it: they get the largest number there is.
COMPARING: Final = frozenset({"Clip", "Max", "Min"})


def _largest(dtype: DType) -> float:
    return float(ml_dtypes.finfo(dtype.numpy).max)  # type: ignore[no-untyped-call]  # no types there


def _magnitude(array: Array) -> float:
    """The largest absolute value, without a copy of the array; NaN or infinite if one of its numbers is."""
    return max(-float(array.min(initial=0.0)), float(array.max(initial=0.0)))


def is_as_good_as_infinite(array: Array) -> bool:
    """Whether an array has finite numbers that stand for infinity."""
    wide = np.abs(array.astype(np.float64))
    return bool(((wide >= _HUGE) & np.isfinite(wide)).any())


def why_not_narrow(constant: Constant, goal: DType) -> NoMatch | None:
    """Why the numbers of a constant do not fit a type, ``None`` if they do."""
    largest, most = _largest(goal), _magnitude(constant.numpy())
    if not most <= largest:
        wide = np.abs(constant.numpy().astype(np.float64))
        finite = wide[np.isfinite(wide)]
        out = finite[(finite > largest) & (finite < _HUGE)]
        if out.size:
            return NoMatch("a constant has %g, and the largest number of %s is %g", float(out.max()), goal, largest)
        most = float(finite.max(initial=0.0))
    if most and most < largest:
        kept = float(np.asarray(most).astype(goal.numpy).astype(np.float64))
        if abs(kept - most) > _LOST * most:
            return NoMatch("a constant of at most %g becomes %g", most, kept)
    return None


def changed_constant(constant: Constant, goal: DType, *, compared: bool = False) -> Constant:
    """A constant in another float type.

    Args:
        constant: floats.
        goal: their new type.
        compared: whether it is compared with, so that the end of its range stays what it is.
    """
    array = constant.numpy()
    if _magnitude(array) <= _largest(goal):
        return Constant(array.astype(goal.numpy))
    wide = array.astype(np.float64)
    largest = _largest(goal) if compared else _largest(goal) / 2
    beyond = np.isfinite(wide) & (np.abs(wide) > _largest(goal))
    return Constant(np.where(beyond, np.copysign(largest, wide), wide).astype(goal.numpy))
