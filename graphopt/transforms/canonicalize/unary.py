"""Shortens chains of elementwise operators of one input.

``f(f(x)) -> x`` for involutions (Neg, Not, BitwiseNot); ``f(g(x)) -> g(x)`` where ``f`` leaves what ``g`` gives as it is (Abs, Relu,
Sign, and Ceil, Floor and Round among each other); ``Abs(Neg(x)) -> Abs(x)``. Exact for every type, NaN and the smallest integer included.
"""

from __future__ import annotations

from typing import ClassVar

from graphopt.ir import Node
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, op

__all__ = ["RULES"]

_INVOLUTIONS = frozenset({"Neg", "Not", "BitwiseNot"})
_ROUNDINGS = frozenset({"Ceil", "Floor", "Round"})
_IDEMPOTENT = frozenset({"Abs", "Relu", "Sign"})


class ShortenUnaryChain(RewritePattern):
    """Neg(Neg(x)) -> x, Relu(Relu(x)) -> Relu(x), Floor(Round(x)) -> Round(x), Abs(Neg(x)) -> Abs(x)."""

    name: ClassVar[str] = "shorten-unary-chain"
    roots: ClassVar[tuple[str, ...]] = (*sorted(_INVOLUTIONS), *sorted(_ROUNDINGS), *sorted(_IDEMPOTENT))
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (op[roots](op[roots](any_("x"))),)

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Look at the operator and the one before it."""
        given = node.input_at(0)
        inner = None if given is None else given.producer
        if given is None or inner is None or inner.domain:
            return NoMatch("the input is no output of an operator")
        op, before = node.op, inner.op
        if op in _INVOLUTIONS and before == op:
            return inner.inputs[0] or NoMatch("an input is absent")
        if (op in _IDEMPOTENT and before == op) or (op in _ROUNDINGS and before in _ROUNDINGS):
            return given
        if op == "Abs" and before == "Neg" and inner.inputs[0] is not None:
            return rw.new("Abs", inner.inputs[0])
        return NoMatch("%s after %s does something", op, before)


RULES = (ShortenUnaryChain(),)
