"""A histogram of bounded size that widens by doubling, so that the order in which data comes does not matter.

Bins are ``2**exponent`` wide and aligned at zero: bin ``i`` has the numbers from ``i * 2**exponent`` up to the next. When the numbers
need more bins than there may be, every two become one: ``floor(floor(x / w) / 2) = floor(x / 2w)``, so the counts are those that one
pass with the wide bins would have given. How wide they end up depends on the smallest and the largest number only. Two histograms that
are merged are therefore equal, count by count, to one of all the data.
"""

import math

import numpy as np

__all__ = ["Histogram"]

#: Indices of bins stay far within the integers that float64 has exactly.
_INDEX_BITS = 40
#: Powers of two below this, and their reciprocals, are float32 numbers.
_NARROW_EXPONENT = 120
#: Narrower bins than the smallest float32 tell nothing apart.
_LEAST_EXPONENT = -149


class Histogram:
    """Counts of numbers by bin.

    Args:
        bins: how many there may be, a power of two from 16 on.

    Attributes:
        low: the smallest number.
        high: the largest number.
    """

    def __init__(self, bins=2048):
        if bins < 16 or bins & (bins - 1):
            raise ValueError(f"bins is {bins}, expected a power of two from 16 on")
        self.bins = bins
        self.exponent = _LEAST_EXPONENT
        self.first = 0
        self.counts = np.zeros(0, np.int64)
        self.low = math.inf
        self.high = -math.inf

    def add(self, numbers):
        """Count numbers: at least one, all finite."""
        numbers = np.asarray(numbers).reshape(-1)
        self._widen(float(numbers.min()), float(numbers.max()))
        found = _indices(numbers, self.exponent)
        found -= self.first
        self.counts += np.bincount(found, minlength=self.counts.size)

    def merge(self, other):
        """Count what another histogram, of as many bins, has counted."""
        if not other.counts.size:
            return
        self._widen(other.low, other.high)
        start, counts = _coarser(other.first, other.counts, self.exponent - other.exponent)
        self.counts[start - self.first :][: counts.size] += counts

    def _widen(self, low, high):
        """Make room for numbers from ``low`` to ``high``, with wider bins where they would be too many."""
        self.low, self.high = min(self.low, low), max(self.high, high)
        exponent = max(self.exponent, _exponent(self.low, self.high, self.bins))
        start, counts = _coarser(self.first, self.counts, exponent - self.exponent)
        first, last = _index(self.low, exponent), _index(self.high, exponent)
        self.counts = np.zeros(last - first + 1, np.int64)
        if counts.size:
            self.counts[start - first :][: counts.size] = counts
        self.exponent, self.first = exponent, first

    def bounds(self, outside):
        """Ends between which all numbers lie but a share of ``outside`` on each side, at most a bin too wide.

        Args:
            outside: fraction in [0, 0.5).
        """
        total = int(self.counts.sum())
        below = np.cumsum(self.counts)
        cut = math.floor(outside * total)  # how many numbers may be cut off on each side
        low = int(np.searchsorted(below, cut, side="right"))
        high = int(np.searchsorted(below, total - cut, side="left"))
        with np.errstate(over="ignore"):  # the end of the last bin may be above all floats
            edges = np.ldexp(np.array([low, high + 1], np.float64) + self.first, self.exponent)
        return max(float(edges[0]), self.low), min(float(edges[1]), self.high)


def _indices(numbers, exponent):
    """The bin of each number. Scaling by a power of two is exact, so float32 stays float32."""
    narrow = numbers.dtype == np.float32 and abs(exponent) < _NARROW_EXPONENT
    scaled = numbers * np.float32(2.0**-exponent) if narrow else np.ldexp(np.float64(numbers), -exponent)
    found = np.floor(scaled, out=scaled).astype(np.int64)
    if exponent > 0:
        found[(numbers < 0) & (found == 0)] = -1  # vanished in the scaling
    return found


def _index(number, exponent):
    return int(_indices(np.array([number], np.float64), exponent)[0])


def _exponent(low, high, bins):
    """The narrowest bins, as an exponent, of which ``bins`` hold the numbers from ``low`` to ``high``."""
    largest = max(abs(low), abs(high))
    found = _LEAST_EXPONENT if largest == 0 else max(_LEAST_EXPONENT, math.frexp(largest)[1] - _INDEX_BITS)
    if high > low and math.isfinite(high - low):  # start where there are certainly too many
        found = max(found, math.frexp(high - low)[1] - bins.bit_length() - 1)
    while _index(high, found) - _index(low, found) >= bins:
        found += 1
    return found


def _coarser(first, counts, steps):
    """First index and counts of bins that are ``2**steps`` times as wide."""
    if not counts.size or not steps:
        return first, counts
    indices = (first + np.arange(counts.size)) >> min(steps, 63)
    start = int(indices[0])
    found = np.zeros(int(indices[-1]) - start + 1, np.int64)
    np.add.at(found, indices - start, counts)
    return start, found
