"""Rewrite Neg(Neg(x)) to x: the smallest graphopt plugin."""

from graphopt import RewritePass, any_, hookimpl, op, rewrite


@rewrite(op.Neg(op.Neg(any_("x"))))
def eliminate_double_neg(m, rw):
    return m["x"]


class EliminateDoubleNeg(RewritePass):
    """Neg(Neg(x)) -> x. Exact in every dtype."""

    name = "eliminate-double-neg"
    rules = (eliminate_double_neg,)


@hookimpl
def graphopt_passes():
    return [EliminateDoubleNeg]
