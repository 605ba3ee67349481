"""Models of one match each: what the pattern asks for, sometimes nodes before it and behind it, or a branch around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from graphopt.ir import DType
from graphopt.rewriting import Pattern
from graphopt.testing.generated import GeneratedModel
from graphopt.testing.strategies.assembly import Style, assemble
from graphopt.testing.strategies.choices import Choices
from graphopt.testing.strategies.element_types import WEIGHTS
from graphopt.testing.strategies.growth import grow
from graphopt.testing.strategies.matching import Matcher, can_be_drawn
from graphopt.testing.strategies.scope import RefusedError, Scope, World
from graphopt.testing.strategies.twists import ODD_TYPES, Twist

__all__ = ["draw_graph"]

_CHANGES: Final[Mapping[Twist, str]] = {
    "rank": "other ranks",
    "empty": "tensors without elements",
    "extreme": "extreme numbers",
    "opset": "another opset",
    "unequal": "two values of one name",
}


def draw_graph(
    choices: Choices, patterns: Sequence[Pattern], opset: int, twist: Twist, *, wild: bool, inside: bool
) -> GeneratedModel | None:
    """A model with a match, ``None`` when nothing that runs is found.

    Args:
        choices: the only source of chance.
        patterns: one of which is to be matched.
        opset: of the default domain.
        twist: what is otherwise about it.
        wild: whether numbers are extreme.
        inside: whether the match stands in a branch.
    """
    known = [pattern for pattern in patterns if can_be_drawn(pattern, opset)]
    if not known:
        return None
    dtypes: Mapping[DType, int] = WEIGHTS
    change = _CHANGES.get(twist, "")
    if twist == "dtype":
        odd = choices.of(ODD_TYPES)
        dtypes, change = {odd: 8, DType.INT64: 1}, f"element type {odd}"
    scope = Scope(World(choices, opset, wild, dtypes, max_inputs=6, empty=twist == "empty", constant_nodes=0.05))
    try:
        if twist == "empty":
            _nothing(scope)
        elif choices.chance(0.25):
            grow(scope, choices.integer(1, 2))
        home = scope.child("t") if inside else scope
        site = root = Matcher(home, twist).make(choices.of(known))
        if inside:
            root = _branch(scope, home, root)
        if choices.chance(0.4):
            root = scope.one("Identity", [root])
    except RefusedError:
        return None
    style = Style(outputs=False, overridable=False, statements=False, keep=(root,))
    made = assemble(scope, style, sites=[site])
    if made is None:
        return None
    return GeneratedModel(made.proto, made.feeds, made.tags, made.sites, change, made.refused)


def _nothing(scope: Scope) -> None:
    """Inputs without elements, for the nodes to read."""
    for rank in (1, 2, 4):
        shape = [scope.choices.of((2, 1, 3)) for _ in range(rank)]
        shape[scope.choices.integer(0, rank - 1)] = 0
        scope.input(np.zeros(shape, np.float32))


def _branch(scope: Scope, inner: Scope, root: str) -> str:
    """An If around a graph, whose other branch gives zeros of the same type."""
    condition = scope.input(np.array(True)) or scope.constant(np.array(True))
    other = scope.child("e")
    if root not in inner.own:
        root = inner.one("Identity", [root])
    name = other.constant(np.zeros_like(inner.arrays[root]))
    then = inner.graph("then", [], [inner.info(root, shaped=False)])
    otherwise = other.graph("else", [], [other.info(name, shaped=False)])
    return scope.node("If", [condition], attributes={"then_branch": then, "else_branch": otherwise})[0]
