"""Bins that are ``2**exponent`` wide and aligned at zero: bin ``i`` has the numbers from ``i * 2**exponent`` up to the next."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST_EXPONENT", "coarsened", "index_of", "indices_of", "narrowest"]

#: Narrower bins than the smallest float32 tell nothing apart.
LEAST_EXPONENT: Final = -149
#: Indices of bins stay far within the integers that float64 has exactly.
_INDEX_BITS: Final = 40

Counts = NDArray[np.int64]


def indices_of(numbers: NDArray[np.floating[Any]], exponent: int) -> Counts:
    """The bin of each number: int64, of the shape of ``numbers``."""
    wide = numbers.astype(np.float64)
    scaled = np.ldexp(wide, -exponent)
    found = np.floor(scaled, out=scaled).astype(np.int64)
    found[(wide < 0) & (found == 0)] = -1  # vanished in the scaling
    return found


def index_of(number: float, exponent: int) -> int:
    """The bin of one number.

    Example:
        >>> index_of(5.0, 1), index_of(-0.5, 1)
        (2, -1)
    """
    return int(indices_of(np.array([number], np.float64), exponent)[0])


def narrowest(low: float, high: float, bins: int) -> int:
    """The narrowest bins, as an exponent, of which ``bins`` hold the numbers from ``low`` to ``high``."""
    largest = max(abs(low), abs(high))
    found = LEAST_EXPONENT if largest == 0 else max(LEAST_EXPONENT, math.frexp(largest)[1] - _INDEX_BITS)
    if high > low and math.isfinite(high - low):  # start where there are certainly too many
        found = max(found, math.frexp(high - low)[1] - bins.bit_length() - 1)
    while index_of(high, found) - index_of(low, found) >= bins:
        found += 1
    return found


def coarsened(first: int, counts: Counts, steps: int) -> tuple[int, Counts]:
    """First index and counts of bins that are ``2**steps`` times as wide."""
    if not counts.size or not steps:
        return first, counts
    indices = (first + np.arange(counts.size)) >> min(steps, 63)
    start = int(indices[0])
    found = np.zeros(int(indices[-1]) - start + 1, np.int64)
    np.add.at(found, indices - start, counts)
    return start, found
