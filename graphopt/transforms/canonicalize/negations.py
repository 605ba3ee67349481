"""Makes a difference of a sum with a negated term, and a sum of a difference with one.

``Neg(x) + y -> y - x`` and ``x - Neg(y) -> x + y``, a product with -1 in the place of Neg too unless weights would take it; exporters write
``1 - x`` as ``Neg(x) + 1``. Exact: IEEE 754 defines a difference as the sum with the negated term, and integers wrap around in the same
way.
"""

from __future__ import annotations

from typing import ClassVar

from graphopt.ir import Node, Value
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.broadcasting import keeps_shape
from graphopt.transforms.movement.alignment import producer_of

__all__ = ["RULES"]

#: Take a factor of their result into their weights.
_WEIGHTED = frozenset({"BatchNormalization", "Conv", "ConvTranspose", "Gather", "Gemm", "MatMul"})


class SubtractNegated(RewritePattern):
    """Add(y, Neg(x)) -> Sub(y, x), Sub(y, Neg(x)) -> Add(y, x), and so for a product with -1."""

    name: ClassVar[str] = "subtract-negated"
    roots: ClassVar[tuple[str, ...]] = ("Add", "Sub")
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Add(op.Neg(any_("x")), any_("y"), commute=True),
        op.Sub(any_("y"), op.Neg(any_("x"))),
        op.Add(any_("y"), op.Mul(any_("x"), const("c", equal_to=-1))),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """The second operand, or of a sum either."""
        for place in (1, 0) if node.op == "Add" else (1,):
            negated = producer_of(node.inputs[place], ("Neg", "Mul"), node)
            x = None if negated is None else _opposite(negated)
            if negated is not None and x is not None and (node.opset or 0) >= 7:
                rw.matched = [node, negated]
                return rw.new("Sub" if node.op == "Add" else "Add", node.inputs[1 - place], x)
        return NoMatch("no operand is negated")


def _opposite(node: Node) -> Value | None:
    """What a node gives the opposite of."""
    if node.op == "Neg":
        return node.inputs[0]
    for place in (1, 0):
        factor, x = node.inputs[place], node.inputs[1 - place]
        if factor is None or x is None or not factor.is_constant or factor.const is None or factor.const.size != 1:
            continue
        if factor.const.numpy().reshape(-1)[0] != -1 or not keeps_shape(x.shape, factor.shape):
            return None
        return None if x.producer is not None and x.producer.op in _WEIGHTED else x
    return None


RULES = (SubtractNegated(),)
