"""Makes a difference of a sum with a negated term, and a sum of a difference with one.

``Neg(x) + y -> y - x`` and ``x - Neg(y) -> x + y``, a product with -1 in the place of Neg too unless weights would take it; exporters write
``1 - x`` as ``Neg(x) + 1``. Exact: IEEE 754 defines a difference as the sum with the negated term, and integers wrap around in the same
way.
"""

from __future__ import annotations

from graphopt.ir import Value
from graphopt.rewriting import Match, NoMatch, Replacement, Rewriter, any_, const, op, rewrite
from graphopt.transforms.broadcasting import keeps_shape

__all__ = ["RULES"]

#: Take a factor of their result into their weights.
_WEIGHTED = frozenset({"BatchNormalization", "Conv", "ConvTranspose", "Gather", "Gemm", "MatMul"})


@rewrite(op.Add(op.Neg(any_("x")), any_("y"), commute=True), min_opset=7)
def subtract_negated(m: Match, rw: Rewriter) -> Value:
    """Add(Neg(x), y) -> Sub(y, x)."""
    return rw.new("Sub", m["y"], m["x"])


@rewrite(op.Sub(any_("x"), op.Neg(any_("y"))), min_opset=7)
def add_twice_negated(m: Match, rw: Rewriter) -> Value:
    """Sub(x, Neg(y)) -> Add(x, y)."""
    return rw.new("Add", m["x"], m["y"])


@rewrite(
    op["Add", "Sub"](any_("y"), op.Mul(any_("x"), const("c", equal_to=-1), commute=True)),
    min_opset=7,
)
def subtract_opposite(m: Match, rw: Rewriter) -> Replacement:
    """Add(y, Mul(x, -1)) -> Sub(y, x), Sub(y, Mul(x, -1)) -> Add(y, x)."""
    x, factor = m["x"], m["c"]
    if not keeps_shape(x.shape, factor.shape):
        return NoMatch("%s may grow to %s", x.type, factor.type)
    if x.producer is not None and x.producer.op in _WEIGHTED:
        return NoMatch("weights take the factor")
    return rw.new("Sub" if m.root.op == "Add" else "Add", m["y"], x)


@rewrite(op.Add(op.Mul(any_("x"), const("c", equal_to=-1), commute=True), any_("y")), min_opset=7)
def subtract_first_opposite(m: Match, rw: Rewriter) -> Replacement:
    """Add(Mul(x, -1), y) -> Sub(y, x)."""
    return subtract_opposite(m, rw)


RULES = (subtract_negated, add_twice_negated, subtract_opposite, subtract_first_opposite)
