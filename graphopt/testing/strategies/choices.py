"""Choices that a strategy makes, each drawn by Hypothesis and so shrunk: to ``False``, to the first option, to the smallest number.

What is drawn in bulk and never shrunk (measurements, the mutation check) is chosen by a seeded generator: faster, and each model is
independent of the others, where Hypothesis mostly varies the one before.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

__all__ = ["Choices", "SeededChoices"]

_T = TypeVar("_T")
_PARTS = 256


class Choices:
    """Makes choices with the ``draw`` of a composite strategy.

    Args:
        draw: what a composite strategy is given.
    """

    __slots__ = ("_draw",)

    def __init__(self, draw: DrawFn) -> None:
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        """A number between two, both possible; shrinks to the lower one."""
        return low if low == high else self._draw(st.integers(low, high))

    def chance(self, probability: float) -> bool:
        """True about that often; shrinks to false."""
        return self._draw(st.integers(0, _PARTS - 1)) >= _PARTS * (1 - probability)

    def of(self, options: Sequence[_T]) -> _T:
        """One of several, the first one being the simplest."""
        return options[self.integer(0, len(options) - 1)]

    def some(self, options: Sequence[_T], least: int = 0, most: int | None = None) -> list[_T]:
        """Different ones of several, in any order."""
        left = list(options)
        count = self.integer(least, len(left) if most is None else min(most, len(left)))
        return [left.pop(self.integer(0, len(left) - 1)) for _ in range(count)]

    def shuffled(self, options: Sequence[_T]) -> list[_T]:
        """All of several, in any order; shrinks to the order that they have."""
        return self.some(options, len(options))

    def weighted(self, options: Sequence[tuple[_T, int]]) -> _T:
        """One of several, as often as their weights say; the first one is the simplest."""
        place = self.integer(0, sum(weight for _option, weight in options) - 1)
        for option, weight in options:
            place -= weight
            if place < 0:
                return option
        raise AssertionError("a place lies within the sum of the weights")

    def seed(self) -> int:
        """A seed for what is not worth a choice each, such as the elements of a tensor."""
        return self.integer(0, 0xFFFF)


class SeededChoices(Choices):
    """The same choices, made by a seeded generator of random numbers.

    Args:
        seed: same seed, same choices.
    """

    __slots__ = ("_random",)

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def integer(self, low: int, high: int) -> int:
        """A number between two, each equally often."""
        return self._random.randint(low, high)

    def chance(self, probability: float) -> bool:
        """True that often."""
        return self._random.random() < probability
