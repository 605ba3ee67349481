"""Small integer tensors whose elements are numbers, expressions, or unknown."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from graphopt.ir import Array, Dim

__all__ = ["MAX_ELEMENTS", "Integers", "broadcast"]

#: Larger tensors are data, not shapes.
MAX_ELEMENTS = 256


@dataclass(frozen=True, slots=True)
class Integers:
    """An integer tensor.

    Attributes:
        shape: its (always known) shape.
        elements: in row-major order; booleans are 0 and 1.
    """

    shape: tuple[int, ...]
    elements: tuple[Dim, ...]

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """All elements, if each is a number."""
        for item in self.elements:
            if not isinstance(item, int):
                return None
        return self.elements  # type: ignore[return-value]  # checked one by one above

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def array(self) -> Array:
        """The elements as a numpy array of Python objects."""
        found = np.empty(len(self.elements), object)
        found[:] = self.elements
        return found.reshape(self.shape)

    def reshaped(self, shape: tuple[int, ...]) -> Integers | None:
        """The same elements in another shape, ``None`` if they don't fit."""
        return Integers(shape, self.elements) if math.prod(shape) == len(self.elements) else None


def broadcast(a: Integers, b: Integers, function: Callable[[Dim, Dim], Dim]) -> Integers | None:
    """A function of two tensors, element by element; only for what shapes need: equal shapes, or one element against many."""
    if a.shape == b.shape:
        return Integers(a.shape, tuple(map(function, a.elements, b.elements)))
    if len(b.elements) == 1 and b.rank <= a.rank:
        other = b.elements[0]
        return Integers(a.shape, tuple(function(item, other) for item in a.elements))
    if len(a.elements) == 1 and a.rank <= b.rank:
        other = a.elements[0]
        return Integers(b.shape, tuple(function(other, item) for item in b.elements))
    return None
