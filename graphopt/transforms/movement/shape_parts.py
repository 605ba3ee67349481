"""Shapes of which parts are taken, and lists of sizes in which some are chosen.

``Gather[i](Shape(x)) -> Shape[i:i + 1](x)``, runs of axes and Slice included, where nobody needs all sizes (opset 15 has bounds);
``Where(c, a, Concat(x, y)) -> Concat(a', y)`` for constants of one axis, where each operand is taken or replaced as a whole. Exact. Source:
https://onnx.ai/onnx/operators/onnx__Shape.html
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graphopt.ir import Array, DType, Node, Value
from graphopt.rewriting import IN_PLACE, NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.movement.alignment import producer_of
from graphopt.transforms.operands import constant_ints
from graphopt.transforms.slice_ranges import read_ranges

__all__ = ["RULES"]

_MANY = 16


class TakeShapeInParts(RewritePattern):
    """Gather[i](Shape(x)) -> Shape[i:i + 1](x), for all readers of a Shape."""

    name: ClassVar[str] = "take-shape-in-parts"
    roots: ClassVar[tuple[str, ...]] = ("Shape",)
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Gather(op.Shape(any_("x")), const("places", equal_to=0)),
        op.Slice(op.Shape(any_("x")), const("zero", equal_to=0), const("one", equal_to=1)),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Each reader must take a run of axes."""
        x, sizes = node.inputs[0], node.output
        if (
            x is None
            or x.rank is None
            or (node.opset or 0) < 15
            or "start" in node.attributes
            or "end" in node.attributes
        ):
            return NoMatch("opset %s has no bounds, or they are stated", node.opset)
        if sizes.is_graph_output or not 1 <= sizes.use_count <= _MANY:
            return NoMatch("%r is given out", sizes.name)
        parts: list[tuple[Node, int, int]] = []
        for user in sizes.users:
            run = _run_of_axes(user, sizes, x.rank) if user.graph is node.graph else None
            if run is None:
                return NoMatch("%s takes no run of axes", user.op)
            parts.append((user, *run))
        for user, start, end in parts:
            rw.replace(user.output, rw.new("Shape", x, start=start, end=end))
            rw.erase_if_unused(user)
        rw.erase_if_unused(node)
        return IN_PLACE


def _run_of_axes(user: Node, sizes: Value, rank: int) -> tuple[int, int] | None:
    """First axis, and the one behind the last, that a node takes of a shape as a list."""
    if user.has_references or user.inputs[0] is not sizes:
        return None
    if user.op == "Gather":
        which = user.inputs[1]
        places = None if which is None or which.rank != 1 else constant_ints(which)
        if not isinstance(places, tuple) or not places or any(not -rank <= place < rank for place in places):
            return None
        first = places[0] % rank
        found = tuple(place % rank for place in places)
        return (first, first + len(found)) if found == tuple(range(first, first + len(found))) else None
    ranges = read_ranges(user) if user.op == "Slice" else NoMatch("no Slice")
    if isinstance(ranges, NoMatch) or len(ranges.starts) != 1 or ranges.steps != (1,):
        return None
    start, end = (min(max(at + rank if at < 0 else at, 0), rank) for at in (ranges.starts[0], ranges.ends[0]))
    return (start, end) if start < end else None


class ChooseInConcat(RewritePattern):
    """Where(c, a, Concat(x, y)) -> Concat(a', y), for constants c and a of one axis."""

    name: ClassVar[str] = "choose-in-concat"
    roots: ClassVar[tuple[str, ...]] = ("Where",)
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Where(const("c"), const("a"), op.Concat(op.Unsqueeze(any_("x"), axes=(0,)), const("y"), axis=0)),
        op.Where(const("c"), op.Concat(any_("x"), any_("y"), axis=0), const("b")),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Each operand of Concat is taken or replaced as a whole, constants element by element."""
        condition, *sides = node.inputs
        chosen = None if condition is None else condition.array()
        for side in (0, 1):
            other = sides[1 - side]
            concat = producer_of(sides[side], ("Concat",), node)
            if chosen is None or concat is None or other is None or not other.is_constant or other.const is None:
                continue
            if chosen.ndim != 1 or node.output.shape != (chosen.size,) or other.const.size not in (1, chosen.size):
                return NoMatch("not lists of one length")
            numbers = np.broadcast_to(other.const.numpy().reshape(-1), (chosen.size,))
            return self._joined(concat, numbers, chosen if side == 0 else np.logical_not(chosen), rw)
        return NoMatch("no side is a Concat, or the other ones are not constant")

    @staticmethod
    def _joined(concat: Node, numbers: Array, keeps: Array, rw: Rewriter) -> Replacement:
        """The Concat, with ``numbers`` where ``keeps`` is false."""
        parts: list[Value | Array | None] = []
        start = 0
        for part in concat.inputs:
            size = None if part is None or part.shape is None or len(part.shape) != 1 else part.shape[0]
            if part is None or not isinstance(size, int) or part.dtype in (None, DType.STRING):
                return NoMatch("the length of a part is not known")
            kept, put = keeps[start : start + size], numbers[start : start + size]
            start += size
            known = part.array()
            if kept.all():
                parts.append(part)
            elif known is not None:
                parts.append(np.where(kept, known, put).astype(known.dtype))
            elif not kept.any():
                parts.append(np.ascontiguousarray(put))
            else:
                return NoMatch("a part is taken in parts")
        if start != keeps.size:
            return NoMatch("lengths do not agree")
        return rw.new_node("Concat", parts, attributes=dict(concat.attributes)).output


RULES = (TakeShapeInParts(), ChooseInConcat())
