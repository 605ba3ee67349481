"""Sees from the operators beside a node that a pattern can't match there, before anything is bound.

Most candidates of a rule end at one of their direct inputs: no convolution gives it, or it is not constant. That is asked here without
making anything; whoever wants to know why a rule did not apply asks the pattern itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from graphopt.ir import Node, Value
from graphopt.rewriting.pattern import Const, OneOf, OpPattern, Pattern

__all__ = ["FirstLook", "first_looks", "may_match"]

#: Operators that give each looked-at input, by its position; none for a constant.
_Inputs = tuple[tuple[int, frozenset[str]], ...]
#: Operators of a root, and what its inputs must be: in one order, or in either.
FirstLook = tuple[tuple[str, ...], tuple[_Inputs, ...]]


@lru_cache(maxsize=4096)
def first_looks(roots: tuple[OpPattern, ...]) -> tuple[FirstLook, ...]:
    """What is asked of the direct inputs at each root of a rule."""
    return tuple((root.ops, tuple(map(_looked_at, _orders(root)))) for root in roots)


def _orders(root: OpPattern) -> tuple[tuple[Pattern, ...], ...]:
    if type(root) is not OpPattern:
        return ((),)
    return (root.inputs, root.inputs[::-1]) if root.commute else (root.inputs,)


def _looked_at(inputs: tuple[Pattern, ...]) -> _Inputs:
    found = [(place, _makers(pattern)) for place, pattern in enumerate(inputs)]
    return tuple((place, makers) for place, makers in found if makers is not None)


def _makers(pattern: Pattern) -> frozenset[str] | None:
    """Operators one of which must give an input, none for a constant; ``None`` if anything may."""
    if type(pattern) is OpPattern:  # one of a class of its own may match anything
        return frozenset(pattern.ops)
    if type(pattern) is Const:
        return frozenset()
    if type(pattern) is OneOf:
        each = [_makers(choice) for choice in pattern.choices]
        known = [makers for makers in each if makers]
        return frozenset[str]().union(*known) if known and len(known) == len(each) else None
    return None


def may_match(looks: tuple[FirstLook, ...], node: Node) -> bool:
    """Whether a pattern may match at a node; absent inputs are left to the pattern."""
    return any(node.op in ops and any(_fits(order, node.inputs) for order in orders) for ops, orders in looks)


def _fits(looked_at: _Inputs, inputs: Sequence[Value | None]) -> bool:
    count = len(inputs)
    for place, makers in looked_at:
        value = inputs[place] if place < count else None
        if value is None:
            continue
        if not makers:
            if not value.is_constant:
                return False
        elif value.producer is None or value.producer.op not in makers:
            return False
    return True
