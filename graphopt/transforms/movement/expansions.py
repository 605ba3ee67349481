"""Leaves expansion to the operators that broadcast anyway.

``f(Expand(x, s), y) -> f(x, y)``, and so for a Tile of axes of size 1, for arithmetic, comparisons and logic where ``x`` and ``y`` together
have the shape of the result: along each axis one of them has its size. Exact.
Source: https://onnx.ai/onnx/repo-docs/Broadcasting.html
"""

from __future__ import annotations

from typing import ClassVar

from graphopt.ir import Node, Shape, Value
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.broadcasting import same_dim
from graphopt.transforms.operands import constant_ints

__all__ = ["RULES"]

_OPS = (
    "Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "Pow",
    "Sub", "Sum", "Where", "Xor",
)  # fmt: skip


def reaches(shapes: list[Shape | None], wanted: Shape) -> bool:
    """Whether operands certainly broadcast to a shape, given that each can be broadcast to it.

    Example:
        >>> reaches([(2, 1), (3,)], (2, 3)), reaches([(2, 1), (1,)], (2, 3))
        (True, False)
    """
    for back in range(1, len(wanted) + 1):
        size = wanted[-back]
        if size == 1:
            continue
        if not any(shape is not None and len(shape) >= back and same_dim(shape[-back], size) for shape in shapes):
            return False
    return any(shape is not None and len(shape) == len(wanted) for shape in shapes)


class DropExpandBeforeBroadcast(RewritePattern):
    """f(Expand(x), y) -> f(x, y)."""

    name: ClassVar[str] = "drop-expand-before-broadcast"
    roots: ClassVar[tuple[str, ...]] = _OPS
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op["Add", "Mul", "Equal", "Max"](op.Expand(any_("x"), const("shape")), any_("y")),
        op["Sub", "Less"](any_("y"), op.Expand(any_("x"), const("shape"))),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """One operand at a time."""
        result = node.output.shape
        if result is None or len(node.inputs) < 2 or (node.opset or 0) < 8:
            return NoMatch("the shape of the result is not known")
        for position, value in enumerate(node.inputs):
            x = None if value is None or value.producer is None else _spread(value.producer)
            if x is None or x.shape is None:
                continue
            others: list[Value | None] = [item for place, item in enumerate(node.inputs) if place != position]
            if reaches([x.shape, *(None if item is None else item.shape for item in others)], result):
                inputs = list(node.inputs)
                inputs[position] = x
                return rw.new_node(node.op, inputs, attributes=dict(node.attributes), name=node.name).output
        return NoMatch("no operand is expanded, or nothing else has the size")


def _spread(node: Node) -> Value | None:
    """What an Expand repeats, or a Tile that repeats only along axes of size 1."""
    x = node.inputs[0] if node.op in ("Expand", "Tile") and not node.has_references else None
    if x is None or node.op == "Expand":
        return x
    repeats = node.input_at(1)
    counts = None if repeats is None else constant_ints(repeats)
    if not isinstance(counts, tuple) or x.shape is None or len(counts) != len(x.shape):
        return None
    return (
        x if all(count == 1 or (size == 1 and count > 0) for count, size in zip(counts, x.shape, strict=True)) else None
    )


RULES = (DropExpandBeforeBroadcast(),)
