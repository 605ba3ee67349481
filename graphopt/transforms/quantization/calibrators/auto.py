"""The best of several ranges, for each tensor by itself."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from graphopt.passes import Range
from graphopt.transforms.quantization.calibrators.entropy import Entropy
from graphopt.transforms.quantization.calibrators.from_histogram import FromHistogram, check_bits
from graphopt.transforms.quantization.calibrators.histogram import BINS, Histogram
from graphopt.transforms.quantization.calibrators.mse import MeanSquaredError
from graphopt.transforms.quantization.calibrators.percentile import Percentile
from graphopt.transforms.quantization.calibrators.reconstruction import Reconstructions

__all__ = ["Auto"]

_PERCENTILES: Final = (99.999, 99.99, 99.9)


class Auto(FromHistogram):
    """The best reconstruction among the ranges of ``min-max``, ``percentile`` (99.999, 99.99, 99.9), ``entropy`` and ``mse``.

    Best is what has the least mean squared error of rounding plus ``clipping`` times that of clipping. Rounding errors have all signs and
    average out in the sums of a layer; what is cut off always misses in one direction and adds up, so it weighs more.

    Args:
        bits: of the integers, 2 to 16.
        symmetric: whether their zero point is fixed, so that both ends have one magnitude.
        clipping: how much more an error of clipping weighs than one of rounding, 0 or more.
        bins: of the histogram at most; a power of two from 16 on.

    Example:
        >>> found = Auto(bits=8)
        >>> found.observe(np.append(np.linspace(-1, 1, 99_999), 1e4).astype(np.float32))
        >>> found.range().high > 9e3, Auto.from_state(found.state()).range() == found.range()
        (True, True)
    """

    def __init__(self, bits: int = 8, symmetric: bool = False, clipping: float = 4.0, bins: int = BINS) -> None:
        super().__init__(bins)
        self.bits = check_bits(bits)
        self.symmetric = bool(symmetric)
        if type(clipping) not in (int, float) or not 0 <= clipping < float("inf"):
            raise ValueError(f"clipping is {clipping!r}, expected a finite number, 0 or more")
        self.clipping = clipping

    def options(self) -> dict[str, Any]:
        """Bits, symmetry and weight."""
        return {"bits": self.bits, "symmetric": self.symmetric, "clipping": self.clipping}

    def find(self, histogram: Histogram) -> Range:
        """The candidate with the least error; of equals the earlier one, as they are listed above."""
        ranges = list(self.candidates(histogram).values())
        errors = Reconstructions(histogram, bits=self.bits, symmetric=self.symmetric).of(
            np.array([item.low for item in ranges]), np.array([item.high for item in ranges])
        )
        return ranges[int(np.argmin(errors.rounding + self.clipping * errors.clipping))]

    def candidates(self, histogram: Histogram) -> dict[str, Range]:
        """The ranges that are compared, by the calibrator that found them."""
        found = {"min-max": Range(histogram.low, histogram.high)}
        for percentile in _PERCENTILES:
            found[f"percentile {percentile}"] = Percentile(percentile).find(histogram)
        found["entropy"] = Entropy(self.bits, self.symmetric).find(histogram)
        found["mse"] = MeanSquaredError(self.bits, self.symmetric).find(histogram)
        return found
