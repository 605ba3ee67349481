"""Makes a difference of a sum with a negated term, and a sum of a difference with one.

``Neg(x) + y -> y - x`` and ``x - Neg(y) -> x + y``; exporters write ``1 - x`` as ``Neg(x) + 1``. Exact: IEEE 754 defines a difference as
the sum with the negated term, and integers wrap around in the same way.
"""

from __future__ import annotations

from graphopt.ir import Value
from graphopt.rewriting import Match, Rewriter, any_, op, rewrite

__all__ = ["RULES"]


@rewrite(op.Add(op.Neg(any_("x")), any_("y"), commute=True), min_opset=7)
def subtract_negated(m: Match, rw: Rewriter) -> Value:
    """Add(Neg(x), y) -> Sub(y, x)."""
    return rw.new("Sub", m["y"], m["x"])


@rewrite(op.Sub(any_("x"), op.Neg(any_("y"))), min_opset=7)
def add_twice_negated(m: Match, rw: Rewriter) -> Value:
    """Sub(x, Neg(y)) -> Add(x, y)."""
    return rw.new("Add", m["x"], m["y"])


RULES = (subtract_negated, add_twice_negated)
