"""Resolves Where nodes that always choose the same side, and conditions that are turned round.

``Where(true, a, b) -> a``, ``Where(false, a, b) -> b``, ``Where(c, a, a) -> a``, each where the chosen side has the shape of the result;
``Where(c, Where(c, a, b), d) -> Where(c, a, d)``; ``Where(Not(c), a, b) -> Where(c, b, a)``; for integers, which have no NaN,
``Not(Less(a, b)) -> GreaterOrEqual(a, b)`` and so on, and ``Not(Equal(a, 0)) -> Cast[bool](a)``; ``Cast(Where(c, a, b)) -> Where(c, a',
b')`` for constants that the other type holds. Exact.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir import DType, Value
from graphopt.rewriting import Match, NoMatch, Replacement, Rewriter, any_, const, op, rewrite
from graphopt.transforms.broadcasting import keeps_shape
from graphopt.transforms.movement.expansions import reaches

__all__ = ["RULES"]

#: Integers that runtimes compare in every way.
_COMPARED = frozenset({DType.INT32, DType.INT64})
_OPPOSITE = {"Less": "GreaterOrEqual", "LessOrEqual": "Greater", "Greater": "LessOrEqual", "GreaterOrEqual": "Less"}
#: Element types that runtimes choose among, and constants up to this size are cast for it.
_CHOSEN = frozenset({DType.FLOAT, DType.INT32, DType.INT64, DType.UINT8})
_FEW = 64


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


@rewrite(op.Where(any_("c"), op.Where(any_("c"), any_("a"), any_("b"), name="inner"), any_("d")))
def choose_once(m: Match, rw: Rewriter) -> Replacement:
    """Where(c, Where(c, a, b), d) -> Where(c, a, d)."""
    return _chosen_once(m, rw, m["a"], m["d"])


@rewrite(op.Where(any_("c"), any_("d"), op.Where(any_("c"), any_("a"), any_("b"), name="inner")))
def choose_other_once(m: Match, rw: Rewriter) -> Replacement:
    """Where(c, d, Where(c, a, b)) -> Where(c, d, b)."""
    return _chosen_once(m, rw, m["d"], m["b"])


def _chosen_once(m: Match, rw: Rewriter, yes: Value, no: Value) -> Replacement:
    result = m.root.output.shape
    if result is None or not reaches([m["c"].shape, yes.shape, no.shape], result):
        return NoMatch("%s is only reached with what is never chosen", m.root.output.type)
    return rw.new("Where", m["c"], yes, no)


@rewrite(op.Where(op.Not(any_("condition")), any_("a"), any_("b")))
def turn_where(m: Match, rw: Rewriter) -> Replacement:
    """Where(Not(c), a, b) -> Where(c, b, a)."""
    return rw.new("Where", m["condition"], m["b"], m["a"])


@rewrite(
    op.Not(op["Less", "LessOrEqual", "Greater", "GreaterOrEqual"](any_("a"), any_("b"), name="inner")), min_opset=12
)
def turn_comparison(m: Match, rw: Rewriter) -> Replacement:
    """Not(Less(a, b)) -> GreaterOrEqual(a, b), for integers."""
    dtype = m["a"].dtype
    if dtype not in _COMPARED:
        return NoMatch("%s may have NaN, or runtimes do not compare it in all ways", dtype)
    return rw.new(_OPPOSITE[m.node("inner").op], m["a"], m["b"])


@rewrite(op.Not(op.Equal(any_("a"), const("zero", equal_to=0), commute=True)), min_opset=9)
def cast_what_is_not_zero(m: Match, rw: Rewriter) -> Replacement:
    """Not(Equal(a, 0)) -> Cast[bool](a) for integers, a for conditions."""
    a, zero = m["a"], m["zero"]
    if a.dtype not in _COMPARED | {DType.BOOL} or not keeps_shape(a.shape, zero.shape):
        return NoMatch("%s is not of integers, or may grow to %s", a.type, zero.type)
    return a if a.dtype is DType.BOOL else rw.new("Cast", a, to=int(DType.BOOL))


@rewrite(op.Cast(op.Where(any_("condition"), const("a"), const("b"))), min_opset=9)
def cast_choices(m: Match, rw: Rewriter) -> Replacement:
    """Cast(Where(c, a, b)) -> Where(c, a', b'), for constants that the other type holds."""
    to = m.root.int_attr("to")
    target = DType(to) if to in DType.__members__.values() else None
    if target not in _CHOSEN or m["a"].dtype not in _CHOSEN:
        return NoMatch("%s to %s", m["a"].dtype, target)
    choices = []
    for name in ("a", "b"):
        array = m.array(name)
        cast = array.astype(target.numpy)
        same = np.array_equal(cast.astype(np.float64), array.astype(np.float64), equal_nan=True)
        if array.size > _FEW or not same or not np.array_equal(cast.astype(array.dtype), array, equal_nan=True):
            return NoMatch("%r is large, or %s does not hold its numbers", m[name].name, target)
        choices.append(cast)
    return rw.new("Where", m["condition"], *choices)


RULES = (
    resolve_constant_where,
    resolve_equal_where,
    choose_once,
    choose_other_once,
    turn_where,
    turn_comparison,
    cast_what_is_not_zero,
    cast_choices,
)
