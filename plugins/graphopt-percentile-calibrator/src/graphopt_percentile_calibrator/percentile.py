"""The range of a tensor as the percentiles of all its numbers."""

import numpy as np

from graphopt.passes import Range
from graphopt_percentile_calibrator.histogram import Histogram

__all__ = ["Percentile"]


class Percentile:
    """The range that holds a percentage of a tensor's numbers, half of the rest cut off on each side.

    It is exact to a bin, of which there are ``bins`` between the smallest and the largest number; memory is that of one histogram for
    each tensor, however many batches there are.

    Args:
        percentile: percentage of the numbers that is inside, above 0 and at most 100.
        bins: of the histogram at most; a power of two from 16 on.
    """

    def __init__(self, percentile=99.99, bins=2048):
        if not 0 < percentile <= 100:
            raise ValueError(f"percentile is {percentile}, expected a number above 0 and at most 100")
        self.percentile = percentile
        self.histogram = Histogram(bins)

    def observe(self, array):
        """Count the numbers of a batch."""
        self.histogram.add(array)

    def merge(self, other):
        """Count what another one has counted."""
        self.histogram.merge(other.histogram)

    def range(self):
        """The percentiles on both sides."""
        return Range(*self.histogram.bounds((100 - self.percentile) / 200))

    def state(self):
        """Options and histogram."""
        found = self.histogram
        return {
            "percentile": self.percentile,
            "bins": found.bins,
            "exponent": found.exponent,
            "first": found.first,
            "counts": found.counts.tolist(),
            "low": found.low,
            "high": found.high,
        }

    @classmethod
    def from_state(cls, state):
        """What gave a state."""
        made = cls(state["percentile"], state["bins"])
        found = made.histogram
        found.exponent, found.first = int(state["exponent"]), int(state["first"])
        found.counts = np.array(state["counts"], np.int64)
        found.low, found.high = float(state["low"]), float(state["high"])
        return made
