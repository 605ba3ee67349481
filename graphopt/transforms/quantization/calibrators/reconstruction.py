"""How well the numbers of a histogram survive being stored as integers: the mean squared error of rounding, and that of clipping.

Numbers of a bin are taken to be spread evenly over it. Steps and zero point are those that a range gives when zero is exact:
``scale = (high - low) / (2**bits - 1)``, or ``max(-low, high) / (2**(bits - 1) - 1)`` when the zero point is fixed; there is one more step
below zero then, which QuantizeLinear uses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graphopt.transforms.quantization.calibrators.histogram import Histogram

__all__ = ["Reconstruction", "Reconstructions"]

Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """Mean squared errors of candidates.

    Attributes:
        rounding: float64 [candidates], of the numbers inside of each range, over all numbers.
        clipping: float64 [candidates], of those outside.
    """

    rounding: Reals
    clipping: Reals

    @property
    def total(self) -> Reals:
        """Both."""
        return self.rounding + self.clipping


class Reconstructions:
    """Errors of ranges for the numbers of one histogram.

    Args:
        histogram: with at least one number.
        bits: of the integers.
        symmetric: whether the zero point is fixed in the middle.
        pooled: how many bins are taken for one: faster, and rough.

    Example:
        >>> counted = Histogram()
        >>> counted.add(np.linspace(0, 1, 100_001, dtype=np.float32))
        >>> errors = Reconstructions(counted, bits=8, symmetric=False).of(np.array([0.0]), np.array([1.0]))
        >>> bool(abs(errors.total[0] * 255**2 * 12 - 1) < 0.02)  # a step squared, over twelve
        True
    """

    def __init__(self, histogram: Histogram, *, bits: int, symmetric: bool, pooled: int = 1) -> None:
        starts = np.arange(0, histogram.counts.size, pooled)
        edges = histogram.edges()[np.append(starts, histogram.counts.size)]
        counts = np.add.reduceat(histogram.counts, starts)
        held = counts > 0
        self._middles: Reals = ((edges[:-1] + edges[1:]) / 2)[held]
        self._widths: Reals = np.diff(edges)[held]
        self._shares: Reals = counts[held] / counts.sum()
        self._steps = 2 ** (bits - 1) - 1 if symmetric else 2**bits - 1
        self._symmetric = symmetric

    def of(self, low: Reals, high: Reals) -> Reconstruction:
        """The errors of candidates.

        Args:
            low: float64 [candidates], the lower ends of ranges; those above zero are taken as zero.
            high: float64 [candidates], the upper ends, in the same way.
        """
        low, high = np.minimum(low, 0.0)[:, None], np.maximum(high, 0.0)[:, None]
        if self._symmetric:
            high = np.maximum(-low, high)
            least, scale = -self._steps - 1, high / self._steps
        else:
            least, scale = 0, (high - low) / self._steps
        most = self._steps
        scale = np.where(scale > 0, scale, 1.0)
        zero = 0.0 if self._symmetric else np.clip(np.rint(-low / scale), least, most)
        steps = np.rint(self._middles / scale) + zero
        inside = (steps >= least) & (steps <= most)
        missed = (np.clip(steps, least, most) - zero) * scale - self._middles
        spread = np.minimum(self._widths, scale) ** 2 / 12
        # Where a step is narrower than a bin, numbers of the bin are rounded in all directions.
        square = np.where(inside & (scale <= self._widths), spread, missed**2 + spread) * self._shares
        return Reconstruction(np.where(inside, square, 0.0).sum(1), np.where(inside, 0.0, square).sum(1))
