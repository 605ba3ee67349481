"""Reads ``Where`` as a function that is one thing above a number and another below it."""

from __future__ import annotations

from dataclasses import dataclass

from graphopt.ir import Node, Value
from graphopt.rewriting import NoMatch
from graphopt.transforms.expressions import producer, scalar

__all__ = ["Branches", "split"]

_MIRRORED = {"Greater": "Less", "GreaterOrEqual": "LessOrEqual", "Less": "Greater", "LessOrEqual": "GreaterOrEqual"}


@dataclass(frozen=True, slots=True)
class Branches:
    """``above`` where ``x`` is above a number, ``below`` elsewhere.

    Attributes:
        x: what is compared.
        number: with this.
        strict: whether the number itself belongs to ``below``.
        above: the value there.
        below: the value elsewhere.
    """

    x: Value
    number: float
    strict: bool
    above: Value
    below: Value


def split(node: Node) -> Branches | NoMatch:
    """The branches of a Where whose condition compares a value with a number."""
    test = producer(node.inputs[0], *_MIRRORED)
    one, other = node.inputs[1], node.inputs[2]
    if test is None or one is None or other is None:
        return NoMatch("the condition is no comparison")
    x, relation = test.inputs[0], test.op
    number = scalar(test.inputs[1])
    if number is None:
        x, number, relation = test.inputs[1], scalar(x), _MIRRORED[relation]
    if x is None or number is None or x.is_constant:
        return NoMatch("it does not compare with a number")
    if relation.startswith("Greater"):
        return Branches(x, number, relation == "Greater", one, other)
    return Branches(x, number, relation == "LessOrEqual", other, one)
