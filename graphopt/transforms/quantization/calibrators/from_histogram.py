"""What calibrators that find a range in a histogram have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from graphopt.ir import Array
from graphopt.passes import Range
from graphopt.transforms.quantization.calibrators.histogram import BINS, Histogram

__all__ = ["FromHistogram", "check_bits"]


class FromHistogram:
    """Counts numbers in a histogram; how a range is found in it is up to the class.

    Memory is that of one histogram for each tensor, however many batches there are.

    Args:
        bins: of the histogram at most; a power of two from 16 on.
    """

    def __init__(self, bins: int = BINS) -> None:
        self.histogram = Histogram(bins)

    def options(self) -> dict[str, Any]:
        """What it was made with, besides ``bins``."""
        return {}

    def observe(self, array: Array) -> None:
        """Count the numbers of a batch."""
        self.histogram.add(array)

    def merge(self, other: Self) -> None:
        """Count what another one has counted."""
        self.histogram.merge(other.histogram)

    def range(self) -> Range:
        """What :meth:`find` finds, within the numbers that were seen."""
        if self.histogram.low == self.histogram.high:
            return self.observed()
        return self.find(self.histogram)

    def find(self, histogram: Histogram) -> Range:
        """The range of numbers that are not all the same."""
        raise NotImplementedError

    def observed(self) -> Range:
        """From the smallest to the largest number."""
        return Range(self.histogram.low, self.histogram.high)

    def clipped(self, found: Range) -> float:
        """Share of the numbers that are outside of a range, to a bin."""
        return self.histogram.outside(found.low, found.high)

    def state(self) -> dict[str, object]:
        """Options and histogram."""
        return {**self.options(), **self.histogram.state()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """What gave a state."""
        histogram = Histogram.from_state(state)
        kept = {"bins", *histogram.state()}
        made = cls(bins=histogram.bins, **{name: value for name, value in state.items() if name not in kept})
        made.histogram = histogram
        return made


def check_bits(bits: int) -> int:
    """The number of bits, if integers of so many can be quantized to.

    Raises:
        ValueError: if not.
    """
    if type(bits) is not int or not 2 <= bits <= 16:
        raise ValueError(f"bits is {bits!r}, expected a whole number from 2 to 16")
    return bits
