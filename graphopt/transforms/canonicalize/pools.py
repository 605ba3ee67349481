"""Removes pooling over windows of one element.

``MaxPool[1](x) -> x``, ``AveragePool[1](x) -> x`` with strides of 1 and no pads. The same numbers, but runtimes may give back other ones
for NaN and negative infinity (they start from the smallest finite number) and for the sign of zero, so this declares to re-associate.
"""

from __future__ import annotations

from graphopt.numerics import Reassociates
from graphopt.rewriting import Match, NoMatch, Replacement, Rewriter, any_, op, rewrite

__all__ = ["ALGEBRA_RULES"]


@rewrite(op["MaxPool", "AveragePool"](any_("x")), numerics=Reassociates(1e-6))
def eliminate_pool(m: Match, rw: Rewriter) -> Replacement:
    """MaxPool(x), AveragePool(x) -> x for windows and strides of 1."""
    pool = m.root
    for name, neutral in (("kernel_shape", 1), ("strides", 1), ("pads", 0)):
        numbers = pool.ints_attr(name)
        if set(numbers if numbers is not None else (neutral,)) != {neutral}:
            return NoMatch("%s is %s", name, numbers)
    return m["x"]


ALGEBRA_RULES = (eliminate_pool,)
