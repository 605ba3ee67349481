"""What a near miss changes: one thing about a graph that a rule's pattern matches, each of those that rules forget to look at.

The changes come from what operators and graphs can be, by their schemas, and not from what the pattern asks: a guard that a rule lacks
is no part of its pattern either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from graphopt.rewriting import Pattern
from graphopt.rewriting.pattern import Any, Const, OneOf, OpPattern

__all__ = ["MATCH", "Kind", "Twist", "twists_of"]

Kind = Literal[
    "none",
    "attribute",
    "second user",
    "graph output",
    "other output",
    "dynamic",
    "overridable",
    "number",
    "dtype",
    "rank",
    "opset",
    "captured",
    "further input",
    "swapped",
    "unequal",
    "empty",
    "extreme",
]


@dataclass(frozen=True, slots=True)
class Twist:
    """One thing that is changed.

    Attributes:
        kind: what.
        place: which of the operators, constants or names of the pattern, counted in the order of the pattern.
    """

    kind: Kind
    place: int = 0

    def applies(self, kind: Kind, place: int) -> bool:
        """Whether this is what is to be changed there."""
        return self.kind == kind and self.place == place

    def __str__(self) -> str:
        return self.kind


MATCH: Final = Twist("none")


def twists_of(patterns: Sequence[Pattern]) -> list[Twist]:
    """All changes that there are for a rule, the plainest first."""
    parts = [part for pattern in patterns for part in pattern.parts()]
    operators = [part for part in parts if isinstance(part, OpPattern)]
    constants = [part for part in parts if isinstance(part, Const)]
    names = [part.name for part in parts if isinstance(part, Any)]
    inner = max(0, max((sum(isinstance(p, OpPattern) for p in pattern.parts()) for pattern in patterns), default=0) - 1)
    found = [Twist("dtype"), Twist("rank"), Twist("opset"), Twist("empty"), Twist("extreme")]
    found += [Twist("attribute", place) for place in range(len(operators))]
    for place in range(1, inner + 1):
        found += [
            Twist("second user", place),
            Twist("graph output", place),
            Twist("other output", place),
            Twist("captured", place),
        ]
    for place, constant in enumerate(constants):
        found += [Twist("dynamic", place), Twist("overridable", place)]
        if constant.equal_to is not None or constant.scalar:
            found.append(Twist("number", place))
    found += [Twist("further input", place) for place, part in enumerate(operators) if not part.has_tail]
    found += [Twist("swapped", place) for place, part in enumerate(operators) if len(part.inputs) == 2]
    if len(set(names)) < len(names) and not any(isinstance(part, OneOf) for part in parts):
        found.append(Twist("unequal"))
    return found
