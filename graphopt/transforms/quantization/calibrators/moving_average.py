"""The range of a tensor as the average of the extremes of its batches."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, ClassVar, Final, Self

from graphopt.ir import Array
from graphopt.passes import Range

__all__ = ["MovingAverage"]

#: All float64 numbers are whole multiples of two to the power of minus this.
_SCALE_BITS: Final = 1074


class MovingAverage:
    """The mean over all batches of the smallest, and of the largest number of a batch: a rare outlier weighs little.

    Averages that forget, as PyTorch's ``MovingAverageMinMaxObserver`` keeps them, depend on the order of batches. This one is cumulative:
    each batch weighs the same, so runs that are merged are one run, in any order. Sums are exact (whole multiples of the smallest
    float), because sums of floats would depend on their order too. What a batch is does matter: larger ones give a wider range.

    Example:
        >>> import numpy as np
        >>> found = MovingAverage()
        >>> for peak in (1.0, 1.0, 4.0):
        ...     found.observe(np.array([-1.0, peak], np.float32))
        >>> found.range(), found.observed()
        (Range(low=-1.0, high=2.0), Range(low=-1.0, high=4.0))
    """

    #: The runtime may find both numbers of a batch and show these only.
    extremes_suffice: ClassVar[bool] = True

    def __init__(self) -> None:
        self._batches = 0
        self._low_sum = 0
        self._high_sum = 0
        self._low = float("inf")
        self._high = float("-inf")

    def observe(self, array: Array) -> None:
        """Take a batch into account."""
        low, high = float(array.min()), float(array.max())
        self._batches += 1
        self._low_sum += _whole(low)
        self._high_sum += _whole(high)
        self._low, self._high = min(self._low, low), max(self._high, high)

    def merge(self, other: Self) -> None:
        """Take into account what another one has seen."""
        self._batches += other._batches
        self._low_sum += other._low_sum
        self._high_sum += other._high_sum
        self._low, self._high = min(self._low, other._low), max(self._high, other._high)

    def range(self) -> Range:
        """Between the two means."""
        low, high = (float(Fraction(total, self._batches << _SCALE_BITS)) for total in (self._low_sum, self._high_sum))
        return Range(low, high)

    def observed(self) -> Range:
        """From the smallest to the largest number."""
        return Range(self._low, self._high)

    def state(self) -> dict[str, object]:
        """Number of batches, sums as hexadecimal digits, extremes."""
        return {
            "batches": self._batches,
            "low_sum": f"{self._low_sum:x}",
            "high_sum": f"{self._high_sum:x}",
            "low": self._low,
            "high": self._high,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """What gave a state."""
        found = cls()
        found._batches = int(state["batches"])
        found._low_sum, found._high_sum = (int(state[name], 16) for name in ("low_sum", "high_sum"))
        found._low, found._high = float(state["low"]), float(state["high"])
        return found


def _whole(number: float) -> int:
    above, below = number.as_integer_ratio()
    return above * ((1 << _SCALE_BITS) // below)
