"""Grows a graph by moves: all families without subgraphs, and those with subgraphs where they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.generated import elementwise, linear, movement, shapes
from tests.generated.scope import Scope

__all__ = ["grow"]

Move = Callable[[Scope], object]
_STRAIGHT: Mapping[str, dict[Move, int]] = {
    "elementwise": elementwise.MOVES,
    "movement": movement.MOVES,
    "shapes": shapes.MOVES,
    "linear": linear.MOVES,
}


def grow(scope: Scope, moves: int, *, nested: bool, favourite: str = "") -> None:
    """Make moves; those that ONNX Runtime refuses leave no node behind.

    Args:
        scope: the graph.
        moves: how many.
        nested: whether subgraphs and functions are among them.
        favourite: a family that most moves come from, any when empty.
    """
    rng = scope.world.rng
    tables = dict(_STRAIGHT)
    if nested:
        from tests.generated import control_flow  # here: it grows bodies with this function

        tables["control flow"] = control_flow.MOVES
    for _ in range(moves):
        family = favourite if favourite in tables and rng.random() < 0.6 else rng.choice(list(tables))
        table = tables[family]
        (move,) = rng.choices(list(table), list(table.values()))
        move(scope)
