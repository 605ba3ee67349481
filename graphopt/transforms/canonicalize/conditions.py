"""Resolves Where nodes that always choose the same side.

``Where(true, a, b) -> a``, ``Where(false, a, b) -> b``, ``Where(c, a, a) -> a``, each where the chosen side has the shape of the result.
Exact.
"""

from __future__ import annotations

from graphopt.rewriting import Match, NoMatch, Replacement, Rewriter, any_, const, op, rewrite
from graphopt.transforms.broadcasting import keeps_shape

__all__ = ["RULES"]


@rewrite(op.Where(const("condition"), any_("a"), any_("b")))
def resolve_constant_where(m: Match, rw: Rewriter) -> Replacement:
    """Where(constant, a, b) -> a or b."""
    condition = m.array("condition")
    if not condition.size:
        return NoMatch("the condition has no elements")
    first = bool(condition.reshape(-1)[0])
    chosen, other = (m["a"], m["b"]) if first else (m["b"], m["a"])
    if not keeps_shape(chosen.shape, condition.shape) or not keeps_shape(chosen.shape, other.shape):
        return NoMatch("%s may grow to the shape of the condition or of %s", chosen.type, other.type)
    if not (condition == first).all():
        return NoMatch("the condition varies")
    return chosen


@rewrite(op.Where(any_("condition"), any_("x"), any_("x")))
def resolve_equal_where(m: Match, rw: Rewriter) -> Replacement:
    """Where(c, x, x) -> x."""
    x, condition = m["x"], m["condition"]
    if not keeps_shape(x.shape, condition.shape):
        return NoMatch("%s may grow to the shape of %s", x.type, condition.type)
    return x


RULES = (resolve_constant_where, resolve_equal_where)
