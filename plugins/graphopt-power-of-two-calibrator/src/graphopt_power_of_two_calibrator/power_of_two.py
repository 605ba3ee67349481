"""The range of a tensor as a power of two on both sides of zero, which devices without multipliers for scales need."""

import math

import numpy as np

from graphopt.passes import Range

__all__ = ["PowerOfTwo"]


class PowerOfTwo:
    """The range from ``-2**k`` to ``2**k`` with the smallest ``k`` that leaves no more than a share of the numbers outside.

    It remembers how many numbers there were of each binary exponent: whole numbers, at most two thousand of them, so runs that are
    merged are one run in whatever order.

    Args:
        outside: share of the numbers that may be outside, at least 0 and less than 1.
    """

    def __init__(self, outside=0.0):
        if not 0 <= outside < 1:
            raise ValueError(f"outside is {outside}, expected a share from 0 to less than 1")
        self.outside = outside
        self.zeros = 0
        self.counts = {}

    def observe(self, array):
        """Count the numbers of a batch."""
        numbers = np.abs(array[array != 0])
        self.zeros += array.size - numbers.size
        fractions, exponents = np.frexp(numbers)
        exponents[fractions == 0.5] -= 1  # 2**k itself is not outside of 2**k
        for exponent, count in zip(*np.unique(exponents, return_counts=True), strict=True):
            self.counts[int(exponent)] = self.counts.get(int(exponent), 0) + int(count)

    def merge(self, other):
        """Count what another one has counted."""
        self.zeros += other.zeros
        for exponent, count in other.counts.items():
            self.counts[exponent] = self.counts.get(exponent, 0) + count

    def range(self):
        """The power of two on both sides; zero alone stays zero."""
        allowed = math.floor(self.outside * (self.zeros + sum(self.counts.values())))
        for exponent in sorted(self.counts, reverse=True):
            allowed -= self.counts[exponent]
            if allowed < 0:
                end = math.ldexp(1.0, min(exponent, 1023))
                return Range(-end, end)
        return Range(0.0, 0.0)

    def state(self):
        """Option and counts; keys of JSON objects are text."""
        counts = {str(exponent): self.counts[exponent] for exponent in sorted(self.counts)}
        return {"outside": self.outside, "zeros": self.zeros, "counts": counts}

    @classmethod
    def from_state(cls, state):
        """What gave a state."""
        made = cls(state["outside"])
        made.zeros = int(state["zeros"])
        made.counts = {int(exponent): int(count) for exponent, count in state["counts"].items()}
        return made
