"""How much a histogram changes when its numbers are stored as few levels: the Kullback-Leibler divergence of what is left from what was.

Source: S. Migacz, "8-bit Inference with TensorRT", GTC 2017. The reference distribution P has all numbers of a window, those outside of it
added to its outermost bins. Q has the numbers inside only: all bins of a level share its numbers, except that empty bins stay empty. A
window that cuts off much differs because P has a peak at its end, a wide one because its levels are coarse.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["divergence"]

#: Numbers that Q is taken to have in a bin where P has some and Q none.
_FLOOR = 0.5


def divergence(counts: NDArray[np.float64], levels: NDArray[np.int64], below: float, above: float) -> float:
    """The divergence of one window.

    Args:
        counts: float64 [bins], numbers in each bin of the window.
        levels: int64 [bins], the level of each bin, in ascending order from any number on.
        below: how many numbers are left of the window.
        above: how many are right of it.

    Returns:
        0 if each bin has a level of its own and nothing is outside; infinity for a window without numbers.

    Example:
        >>> divergence(np.array([4.0, 4.0, 2.0, 2.0]), np.array([0, 0, 1, 1]), 0, 0)
        0.0
        >>> 0.05 < divergence(np.array([4.0, 2.0]), np.array([0, 0]), 0, 0) < 0.06
        True
    """
    inside = float(counts.sum())
    if not inside:
        return float("inf")
    places = levels - levels[0]
    held = counts > 0
    shared = np.bincount(places, counts) / np.maximum(np.bincount(places, held), 1)
    q = np.maximum(np.where(held, shared[places], 0.0), _FLOOR) / inside
    p = counts.copy()
    p[0] += below
    p[-1] += above
    filled = p > 0
    p = p[filled] / (inside + below + above)
    return max(0.0, float((p * np.log(p / q[filled])).sum()))
