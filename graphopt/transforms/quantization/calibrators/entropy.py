"""The range of a tensor whose distribution changes the least when its numbers are stored as integers."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from graphopt.passes import Range
from graphopt.transforms.quantization.calibrators.divergence import divergence
from graphopt.transforms.quantization.calibrators.from_histogram import FromHistogram, check_bits
from graphopt.transforms.quantization.calibrators.histogram import BINS, Histogram

__all__ = ["Entropy"]

#: Windows that are tried on the whole way, and then between the neighbours of the best.
_COARSE: Final = 32
_FINE: Final = 10
#: Bins that windows are made of, as many as TensorRT takes.
_BINS: Final = 2048
#: Share of the numbers that a window may leave out on a side. Where numbers pile up in a few bins, the divergence of tiny windows is small
#: although they cut off everything else; in smooth distributions its minimum is far within this.
_MOST_OUTSIDE: Final = 0.001


class Entropy(FromHistogram):
    """The range with the smallest Kullback-Leibler divergence, as TensorRT finds it for symmetric int8.

    Symmetric: the histogram of magnitudes, windows from zero on, ``2**(bits - 1)`` levels, as in S. Migacz, "8-bit Inference with
    TensorRT", GTC 2017. Otherwise the same divergence with ``2**bits`` levels between both ends; each end is searched in turn, given the
    other. Zeros, of which activations leave many and which every integer type has exactly, count no more than their neighbours. No more
    than one in a thousand of the other numbers is cut off on a side.

    Args:
        bits: of the integers, 2 to 16.
        symmetric: whether their zero point is fixed, so that both ends have one magnitude.
        bins: of the histogram at most; a power of two from 16 on.

    Example:
        >>> found = Entropy(symmetric=True)
        >>> numbers = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
        >>> found.observe(np.append(numbers, np.float32(40)))
        >>> 3.0 < found.range().high < 20.0
        True
    """

    def __init__(self, bits: int = 8, symmetric: bool = False, bins: int = BINS) -> None:
        super().__init__(bins)
        self.bits = check_bits(bits)
        self.symmetric = bool(symmetric)

    def options(self) -> dict[str, Any]:
        """Bits and symmetry."""
        return {"bits": self.bits, "symmetric": self.symmetric}

    def find(self, histogram: Histogram) -> Range:
        """The best range that the search comes to."""
        histogram = histogram.coarser(_BINS)
        if self.symmetric:
            first, counts = _magnitudes(histogram)
            end = _Windows(first, counts, 2 ** (self.bits - 1)).best_end(first, first + counts.size)
            most = end * histogram.width
            return Range(*np.clip([-most, most], histogram.low, histogram.high).tolist())
        first, last = histogram.first, histogram.first + histogram.counts.size
        windows = _Windows(first, histogram.counts.astype(np.float64), 2**self.bits)
        end = windows.best_end(first, last)
        start = windows.best_start(first, end)
        if start != first:
            end = windows.best_end(start, last)
        edges = histogram.edges()
        return Range(float(edges[start - first]), float(edges[end - first]))


class _Windows:
    """Windows of bins, by the indices of the first one and of the one behind the last."""

    def __init__(self, first: int, counts: NDArray[np.float64], levels: int) -> None:
        self._first = first
        self._counts = counts
        self._levels = levels
        zero = -first
        if 0 <= zero < counts.size:
            beside = counts[max(0, zero - 1) : zero + 2].copy()
            beside[min(zero, 1)] = 1
            counts[zero] = min(counts[zero], beside.max())
        self._below = np.concatenate([[0.0], np.cumsum(counts)])

    def cost(self, start: int, end: int) -> float:
        """The divergence of a window."""
        low = min(start, 0)
        levels = (np.arange(start, end) - low) * self._levels // max(max(end, 0) - low, 1)
        at, to = start - self._first, end - self._first
        return divergence(self._counts[at:to], levels, self._below[at], self._below[-1] - self._below[to])

    def best_end(self, start: int, last: int) -> int:
        """The best end of windows from ``start`` on, up to ``last``; the widest of equals."""
        least = self._least(start, last, positive=last > 0)
        tried = np.unique(np.linspace(last, least, _COARSE).astype(np.int64))[::-1]
        for _ in range(2):
            costs = [self.cost(start, int(end)) for end in tried]
            best = int(np.argmin(costs))
            found = int(tried[best])
            near = tried[max(0, best - 1)], tried[min(best + 1, tried.size - 1)]
            tried = np.unique(np.linspace(*near, _FINE).astype(np.int64))[::-1]
        return found

    def best_start(self, first: int, end: int) -> int:
        """The best start of windows up to ``end``, from ``first`` on; the widest of equals."""
        mirrored = object.__new__(_Windows)
        mirrored._counts, mirrored._levels = self._counts[::-1], self._levels
        mirrored._first = -(self._first + self._counts.size)
        mirrored._below = np.concatenate([[0.0], np.cumsum(mirrored._counts)])
        return -mirrored.best_end(-end, -first)

    def _least(self, start: int, last: int, *, positive: bool) -> int:
        """The nearest end to try: a bin for each level, for half of them where numbers have both signs; zero stays inside."""
        if not positive:
            return last
        kept = float(self._below[-1]) * (1 - _MOST_OUTSIDE)
        enough = self._first + int(np.searchsorted(self._below, kept))
        return min(last, max(start + 1, enough, self._levels // 2 if start < 0 else self._levels))


def _magnitudes(histogram: Histogram) -> tuple[int, NDArray[np.float64]]:
    """First index and counts of the histogram of absolute values: bins are aligned at zero, so -1 goes with 0, -2 with 1."""
    indices = np.arange(histogram.first, histogram.first + histogram.counts.size)
    indices = np.where(indices < 0, -1 - indices, indices)
    start = int(indices.min())
    return start, np.bincount(indices - start, histogram.counts).astype(np.float64)
