"""The shape functions of all families in one table, keyed by operator as :attr:`graphopt.ir.Node.op` spells it."""

from __future__ import annotations

from collections.abc import Mapping

from graphopt.analysis.shape_inference import (
    attending,
    contributed,
    elementwise,
    joining,
    learning,
    making,
    matrices,
    normalizing,
    quantizing,
    recurrent,
    reducing,
    reshaping,
    resizing,
    slicing,
    windows,
)
from graphopt.analysis.shape_inference.facts import ShapeFunction

__all__ = ["SHAPE_FUNCTIONS"]

_FAMILIES = (
    attending, contributed, elementwise, joining, learning, making, matrices, normalizing, quantizing, recurrent, reducing,
    reshaping, resizing, slicing, windows,
)  # fmt: skip


def _merged() -> dict[str, ShapeFunction]:
    table: dict[str, ShapeFunction] = {}
    for family in _FAMILIES:
        twice = table.keys() & family.FUNCTIONS.keys()
        assert not twice, f"two shape functions for {sorted(twice)}"
        table |= family.FUNCTIONS
    return table


SHAPE_FUNCTIONS: Mapping[str, ShapeFunction] = _merged()
