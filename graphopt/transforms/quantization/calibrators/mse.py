"""The range of a tensor that loses the least when its numbers are stored as integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from graphopt.passes import Range
from graphopt.transforms.quantization.calibrators.from_histogram import FromHistogram, check_bits
from graphopt.transforms.quantization.calibrators.histogram import BINS, Histogram
from graphopt.transforms.quantization.calibrators.reconstruction import Reconstructions

__all__ = ["MeanSquaredError", "least"]

Reals = NDArray[np.float64]
#: Shares of an end that are tried: from all of it down to a hundredth, then around the best, ever closer.
_COARSE: Final = np.geomspace(1.0, 0.01, 60)
_FINE: Final = (np.geomspace(1.08, 0.92, 17), np.geomspace(1.01, 0.99, 9))
#: The same where both ends are searched together: where the zero point falls depends on both.
_GRID: Final = np.append(np.linspace(1.0, 0.3, 7), np.geomspace(0.2, 0.01, 5))
_BESIDE: Final = np.geomspace(1.25, 0.8, 17)
#: Bins that are taken for one in the first round.
_POOLED: Final = 4


class MeanSquaredError(FromHistogram):
    """The range with the smallest mean squared error of rounding and clipping together, for integers of so many bits.

    A wider range cuts off less and rounds more. Both ends are searched together, then each in turn, given the other.

    Args:
        bits: of the integers, 2 to 16.
        symmetric: whether their zero point is fixed, so that both ends have one magnitude.
        bins: of the histogram at most; a power of two from 16 on.

    Example:
        >>> found = MeanSquaredError(bits=4)
        >>> found.observe(np.random.default_rng(0).normal(size=10_000).astype(np.float32))
        >>> 2.0 < found.range().high < 3.0 < found.observed().high
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
        fine = Reconstructions(histogram, bits=self.bits, symmetric=self.symmetric)
        rough = Reconstructions(histogram, bits=self.bits, symmetric=self.symmetric, pooled=_POOLED)
        return least(
            histogram,
            lambda low, high: fine.of(low, high).total,
            lambda low, high: rough.of(low, high).total,
            symmetric=self.symmetric,
        )


def least(
    histogram: Histogram,
    cost: Callable[[Reals, Reals], Reals],
    rough: Callable[[Reals, Reals], Reals],
    *,
    symmetric: bool,
) -> Range:
    """The range of least cost, from that of all numbers down to a hundredth of it.

    Args:
        histogram: of the numbers.
        cost: of ranges, given lower and upper ends as float64 [candidates].
        rough: nearly the same, and faster: says where to look closer.
        symmetric: whether both ends have one magnitude.
    """
    bottom, top = min(histogram.low, 0.0), max(histogram.high, 0.0)
    low, high = bottom, top
    if symmetric:
        most = max(-bottom, top)
        best = most
        for shares, price in ((_COARSE, rough), *((shares, cost) for shares in _FINE)):
            tried = np.minimum(shares * best, most)
            best = tried[np.argmin(price(-tried, tried))]
        low, high = max(-best, bottom), min(best, top)
        return _seen(histogram, float(low), float(high))
    together = bool(bottom and top)
    if together:
        lows, highs = np.repeat(_GRID * low, _GRID.size), np.tile(_GRID * high, _GRID.size)
        parts = range(0, lows.size, _GRID.size)  # in parts: each candidate takes an array of all bins
        costs = np.concatenate([rough(lows[at : at + _GRID.size], highs[at : at + _GRID.size]) for at in parts])
        low, high = lows[costs.argmin()], highs[costs.argmin()]
    for shares, price in ((_BESIDE if together else _COARSE, rough), *((shares, cost) for shares in _FINE)):
        if top:
            tried = np.minimum(shares * high, top)
            high = tried[np.argmin(price(np.full_like(tried, low), tried))]
        if bottom:
            tried = np.maximum(shares * low, bottom)
            low = tried[np.argmin(price(tried, np.full_like(tried, high)))]
    return _seen(histogram, float(low), float(high))


def _seen(histogram: Histogram, low: float, high: float) -> Range:
    """A range that does not reach beyond the numbers that were seen; zero is added when scales are made."""
    low = min(max(low, histogram.low), histogram.high)
    return Range(low, max(low, min(high, histogram.high)))
