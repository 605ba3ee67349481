"""A histogram of bounded size that widens by doubling, so that the order in which numbers come does not matter.

Bins are ``2**exponent`` wide and aligned at zero: bin ``i`` has the numbers from ``i * 2**exponent`` up to the next. When the numbers
need more bins than there may be, every two become one: ``floor(floor(x / w) / 2) = floor(x / 2w)``, so the counts are those that one
pass with the wide bins would have given. How wide they end up depends on the smallest and the largest number only, so two histograms
that are merged are equal, count by count, to one of all the data.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from graphopt.ir import Array
from graphopt.transforms.quantization.calibrators.bins import LEAST_EXPONENT, coarsened, index_of, indices_of, narrowest
from graphopt.transforms.quantization.calibrators.encoding import decoded_counts, encoded_counts

__all__ = ["BINS", "Histogram"]

#: How many bins there are unless somebody says otherwise: 8 to 16 for each step of an 8-bit integer.
BINS: Final = 4096
_FEWEST_BINS: Final = 16
#: Numbers that are counted at a time: what they need stays in the cache, and no tensor is ever copied.
_CHUNK: Final = 1 << 16
#: Powers of two below this, and their reciprocals, are float32 numbers.
_NARROW_EXPONENT: Final = 120

Counts = NDArray[np.int64]
Reals = NDArray[np.float64]


class Histogram:
    """Counts of numbers by bin.

    Args:
        bins: how many there may be, a power of two from 16 on.

    Attributes:
        low: the smallest number.
        high: the largest number.
        exponent: bins are ``2**exponent`` wide.
        first: index of the first bin, negative below zero.
        counts: int64, a number for each bin; those of the first and last are never 0.

    Raises:
        ValueError: if ``bins`` is something else.

    Example:
        >>> found = Histogram(16)
        >>> found.add(np.array([0.0, 0.5, 1.5], np.float32))
        >>> found.exponent, found.counts.tolist()
        (-3, [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1])
    """

    def __init__(self, bins: int = BINS) -> None:
        if type(bins) is not int or bins < _FEWEST_BINS or bins & (bins - 1):
            raise ValueError(f"bins is {bins!r}, expected a power of two from {_FEWEST_BINS} on")
        self.bins = bins
        self.exponent = LEAST_EXPONENT
        self.first = 0
        self.counts: Counts = np.zeros(0, np.int64)
        self.low = math.inf
        self.high = -math.inf

    @property
    def total(self) -> int:
        """How many numbers were counted."""
        return int(self.counts.sum())

    @property
    def width(self) -> float:
        """Of a bin."""
        return math.ldexp(1.0, self.exponent)

    def add(self, array: Array) -> None:
        """Count numbers.

        Args:
            array: float32 or float64, all finite. It is read in pieces, and no copy is made of it.
        """
        numbers = cast("NDArray[np.floating[Any]]", np.ravel(array, order="K"))
        size = min(numbers.size, _CHUNK)
        scaled, indices = np.empty(size, numbers.dtype), np.empty(size, np.int64)
        for chunk in _chunks(numbers):
            low, high = float(chunk.min()), float(chunk.max())
            if low < self.low or high > self.high:
                self._widen(low, high)
            found = self._indices(chunk, scaled[: chunk.size], indices[: chunk.size])
            self.counts += np.bincount(found, minlength=self.counts.size)

    def _indices(self, chunk: NDArray[np.floating[Any]], scaled: NDArray[np.floating[Any]], indices: Counts) -> Counts:
        """Which of the bins each number is in, from 0 on. Scaling by a power of two is exact, so float32 stays float32."""
        narrow = (
            chunk.dtype == np.float32 and abs(self.exponent) < _NARROW_EXPONENT and np.float32(self.first) == self.first
        )
        if not narrow:
            return indices_of(chunk, self.exponent) - self.first
        np.multiply(chunk, np.float32(2.0**-self.exponent), out=scaled)
        np.floor(scaled, out=scaled)
        if self.exponent > 0:  # a small number may have vanished in the scaling
            np.subtract(scaled, (chunk < 0) & (scaled == 0), out=scaled)
        np.subtract(scaled, np.float32(self.first), out=scaled)  # exact: the difference is a small integer
        np.copyto(indices, scaled, casting="unsafe")
        return indices

    def merge(self, other: Histogram) -> None:
        """Count what another one has counted.

        Raises:
            ValueError: if it has another number of bins.
        """
        if other.bins != self.bins:
            raise ValueError(f"a histogram of {other.bins} bins can't be merged into one of {self.bins}")
        self._take(other)

    def _take(self, other: Histogram) -> None:
        if not other.counts.size:
            return
        self._widen(other.low, other.high)
        start, counts = coarsened(other.first, other.counts, self.exponent - other.exponent)
        self.counts[start - self.first :][: counts.size] += counts

    def _widen(self, low: float, high: float) -> None:
        """Make room for numbers from ``low`` to ``high``, with wider bins where they would be too many."""
        self.low, self.high = min(self.low, low), max(self.high, high)
        exponent = max(self.exponent, narrowest(self.low, self.high, self.bins))
        start, counts = coarsened(self.first, self.counts, exponent - self.exponent)
        first, last = index_of(self.low, exponent), index_of(self.high, exponent)
        self.counts = np.zeros(last - first + 1, np.int64)
        if counts.size:
            self.counts[start - first :][: counts.size] = counts
        self.exponent, self.first = exponent, first

    # -- what it says ---------------------------------------------------------------------------------------------------------

    def edges(self) -> Reals:
        """Where bins begin and end, float64 [bins + 1]; the outermost are the smallest and the largest number."""
        with np.errstate(over="ignore"):  # the end of the last bin may be above all floats
            found = np.ldexp(np.arange(self.first, self.first + self.counts.size + 1, dtype=np.float64), self.exponent)
        return np.clip(found, self.low, self.high)

    def bounds(self, outside: float) -> tuple[float, float]:
        """Ends between which all numbers lie but a share of ``outside`` on each side, at most a bin too wide.

        Args:
            outside: fraction in [0, 0.5).
        """
        below = np.cumsum(self.counts)
        total = int(below[-1])
        cut = math.floor(outside * total)  # how many numbers may be cut off on each side
        low = int(np.searchsorted(below, cut, side="right"))
        high = int(np.searchsorted(below, total - cut, side="left"))
        edges = self.edges()
        return float(edges[low]), float(edges[high + 1])

    def outside(self, low: float, high: float) -> float:
        """Share of the numbers below ``low`` or above ``high``, to a bin: one that is cut counts by the part outside."""
        edges = self.edges()
        width = np.diff(edges)
        held = np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, None)
        single = (edges[:-1] >= low) & (edges[1:] <= high)
        inside = np.where(single, 1.0, held / np.where(width > 0, width, 1.0))
        return float((self.counts * (1.0 - inside)).sum() / self.counts.sum())

    def coarser(self, bins: int) -> Histogram:
        """The histogram that the same numbers would give with fewer bins; itself if it has no more than so many.

        Args:
            bins: how many there may be, a power of two from 16 on.
        """
        if self.counts.size <= bins:
            return self
        found = Histogram(bins)
        found._take(self)
        return found

    # -- kept and read again --------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, object]:
        """Everything, as what JSON can hold: some kilobytes, however many numbers were counted."""
        return {
            "bins": self.bins,
            "exponent": self.exponent,
            "first": self.first,
            "counts": encoded_counts(self.counts),
            "low": self.low,
            "high": self.high,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Histogram:
        """What gave a state.

        Raises:
            ValueError: if it is none.
        """
        found = cls(state["bins"])
        found.exponent, found.first = int(state["exponent"]), int(state["first"])
        found.counts = decoded_counts(state["counts"])
        found.low, found.high = float(state["low"]), float(state["high"])
        if found.counts.size and (
            found.first != index_of(found.low, found.exponent)
            or found.first + found.counts.size - 1 != index_of(found.high, found.exponent)
            or found.counts.size > found.bins
        ):
            raise ValueError(f"{found.counts.size} counts do not fit numbers from {found.low} to {found.high}")
        return found


def _chunks(numbers: NDArray[np.floating[Any]]) -> Iterator[NDArray[np.floating[Any]]]:
    for start in range(0, numbers.size, _CHUNK):
        yield numbers[start : start + _CHUNK]
