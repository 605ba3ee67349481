"""The range of a tensor as the percentiles of all its numbers."""

from __future__ import annotations

from typing import Any

from graphopt.passes import Range
from graphopt.transforms.quantization.calibrators.from_histogram import FromHistogram
from graphopt.transforms.quantization.calibrators.histogram import BINS, Histogram

__all__ = ["Percentile"]


class Percentile(FromHistogram):
    """The range that holds a percentage of a tensor's numbers, half of the rest cut off on each side; exact to a bin.

    Args:
        percentile: percentage of the numbers that is inside, above 0 and at most 100.
        bins: of the histogram at most; a power of two from 16 on.

    Example:
        >>> import numpy as np
        >>> found = Percentile(99.0)
        >>> found.observe(np.append(np.linspace(-1, 1, 999), 50.0).astype(np.float32))
        >>> 0.98 < found.range().high < 1.01
        True
    """

    def __init__(self, percentile: float = 99.99, bins: int = BINS) -> None:
        if type(percentile) not in (int, float) or not 0 < percentile <= 100:
            raise ValueError(f"percentile is {percentile!r}, expected a number above 0 and at most 100")
        super().__init__(bins)
        self.percentile = percentile

    def options(self) -> dict[str, Any]:
        """The percentage."""
        return {"percentile": self.percentile}

    def find(self, histogram: Histogram) -> Range:
        """The percentiles on both sides."""
        return Range(*histogram.bounds((100 - self.percentile) / 200))
