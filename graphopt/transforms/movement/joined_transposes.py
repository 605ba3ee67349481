"""Transposes once what several operands of an operator were transposed for.

``f(Transpose[p](x), Transpose[p](y)) -> Transpose[p](f(x, y))`` for operators that compute element by element or along an axis; constants
are transposed at once. Exact. Source: https://onnx.ai/onnx/operators/onnx__Transpose.html
"""

from __future__ import annotations

from typing import ClassVar

from graphopt.ir import Array, Node, Value
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, op
from graphopt.transforms.movement.alignment import order_of
from graphopt.transforms.movement.elementwise import constant_behind, form_behind, is_movable

__all__ = ["RULES"]


class JoinTransposes(RewritePattern):
    """f(Transpose[p](x), Transpose[p](y)) -> Transpose[p](f(x, y))."""

    name: ClassVar[str] = "join-transposes"
    roots: ClassVar[tuple[str, ...]] = (
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Max",
        "Min",
        "Where",
        "Concat",
        "Pow",
        "And",
        "Or",
        "Equal",
    )
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op["Add", "Sub", "Mul", "Max"](op.Transpose(any_("x"), perm=(1, 0)), op.Transpose(any_("y"), perm=(1, 0))),
        op.Concat(op.Transpose(any_("x"), perm=(1, 0)), op.Transpose(any_("y"), perm=(1, 0))),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Each operand is a constant, or a Transpose in the same order; two at least, which nobody else reads."""
        order: tuple[int, ...] | None = None
        sources: list[Value | None] = []
        alone = 0
        for value in node.inputs:
            if value is None:
                return NoMatch("an operand is absent")
            if value.is_constant:
                sources.append(None)
                continue
            transpose = value.producer
            if transpose is None or transpose.op != "Transpose" or transpose.has_references or value.rank is None:
                return NoMatch("%r is not transposed", value.name)
            found = order_of(transpose, value.rank)
            if found is None or (order is not None and found != order) or transpose.inputs[0] is None:
                return NoMatch("operands are transposed in other ways")
            order = found
            sources.append(transpose.inputs[0])
            alone += value.has_single_use and transpose.graph is node.graph
        if order is None or alone < 2 or not is_movable(node):
            return NoMatch("%d Transpose nodes would vanish, and one arise", alone)
        inverse = tuple(order.index(axis) for axis in range(len(order)))
        form = form_behind(node, inverse)
        if isinstance(form, NoMatch):
            return form
        operands: list[Value | Array | None] = list(sources)
        for position, value in enumerate(node.inputs):
            if value is not None and value.is_constant:
                if (value.rank or 0) > len(order):
                    return NoMatch("a constant is larger")
                moved = constant_behind(value, inverse)
                operands[position] = value if moved is None else moved
        made = rw.new_node(node.op, operands, attributes=form.attributes)
        return rw.new("Transpose", made.output, perm=order)


RULES = (JoinTransposes(),)
