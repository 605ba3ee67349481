"""The range of a tensor as the smallest and the largest number seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self, SupportsFloat, cast

from graphopt.ir import Array
from graphopt.passes import Range

__all__ = ["MinMax"]


class MinMax:
    """The smallest and the largest number that a tensor ever had. Nothing is cut off; one outlier makes the range wide.

    Example:
        >>> import numpy as np
        >>> found = MinMax()
        >>> found.observe(np.array([0.5, -2.0], np.float32))
        >>> found.range()
        Range(low=-2.0, high=0.5)
    """

    #: The runtime may find both numbers of a batch and show these only.
    extremes_suffice: ClassVar[bool] = True

    def __init__(self) -> None:
        self._low = float("inf")
        self._high = float("-inf")

    def observe(self, array: Array) -> None:
        """Take a batch into account."""
        self._low = min(self._low, float(array.min()))
        self._high = max(self._high, float(array.max()))

    def merge(self, other: Self) -> None:
        """Take into account what another one has seen."""
        self._low = min(self._low, other._low)
        self._high = max(self._high, other._high)

    def range(self) -> Range:
        """From the smallest to the largest."""
        return Range(self._low, self._high)

    def state(self) -> dict[str, object]:
        """Both numbers."""
        return {"low": self._low, "high": self._high}

    @classmethod
    def from_state(cls, state: Mapping[str, object]) -> Self:
        """What gave a state."""
        found = cls()
        found._low, found._high = (float(cast("SupportsFloat", state[name])) for name in ("low", "high"))
        return found
