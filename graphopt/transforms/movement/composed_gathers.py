"""Looks up at once what is looked up of a part or of moved axes.

``Gather[j](Gather[i](x)) -> Gather[i[j]](x)`` and ``Gather[j](Slice[a::s](x)) -> Gather[a + s * j](x)`` along one axis, for constant
places; and ``Gather(Transpose(x)) -> Gather(x)`` along the axis as it was, where the others are in order anyway. Exact.
Source: https://onnx.ai/onnx/operators/onnx__Gather.html
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graphopt.ir import DType, Node, Value
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.movement.alignment import order_of
from graphopt.transforms.movement.gathers import places_of
from graphopt.transforms.operands import normalize_axes
from graphopt.transforms.slice_ranges import read_ranges

__all__ = ["RULES"]

_TEXT = frozenset({DType.STRING, None})


def _inner(value: Value | None, reader: Node, ops: tuple[str, ...]) -> Node | None:
    """The node of these operators that gives a value, which others may read, too."""
    node = None if value is None else value.producer
    return (
        node if node is not None and node.op in ops and node.graph is reader.graph and not node.has_references else None
    )


class GatherOfPart(RewritePattern):
    """Gather(Gather(x)) -> Gather(x), Gather(Slice(x)) -> Gather(x), for constant places along one axis."""

    name: ClassVar[str] = "gather-of-part"
    roots: ClassVar[tuple[str, ...]] = ("Gather",)
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Gather(op.Slice(any_("x"), const("zero"), const("end"), const("axis")), const("i"), axis=0),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Places must be counted from the front, or the size of the part be known."""
        found = places_of(node)
        inner = _inner(node.inputs[0], node, ("Gather", "Slice"))
        if isinstance(found, NoMatch):
            return found
        data, axis, numbers, rank = found
        x = None if inner is None else inner.inputs[0]
        if inner is None or x is None or x.rank != data.rank or data.rank is None or data.shape is None:
            return NoMatch("it looks nothing up that keeps its rank")
        size = data.shape[axis]
        if any(number < 0 for number in numbers):
            if not isinstance(size, int):
                return NoMatch("places count from an end that is not known")
            numbers = tuple(number + size if number < 0 else number for number in numbers)
        places = self._places(inner, axis, numbers, data.rank)
        if isinstance(places, NoMatch):
            return places
        shape = (len(places),) if rank == 1 else ()
        if rank > 1 or (rank == 0 and len(places) != 1):
            return NoMatch("places have %d axes", rank)
        rw.matched = [node, inner] if inner.output.has_single_use else [node]
        return rw.new("Gather", x, np.array(places, np.int64).reshape(shape), axis=axis)

    @staticmethod
    def _places(inner: Node, axis: int, numbers: tuple[int, ...], rank: int) -> tuple[int, ...] | NoMatch:
        if inner.op == "Gather":
            found = places_of(inner)
            if isinstance(found, NoMatch):
                return found
            _, own, places, _ = found
            if own != axis or any(number >= len(places) for number in numbers):
                return NoMatch("it looks up along another axis, or beyond the end")
            return tuple(places[number] for number in numbers)
        ranges = read_ranges(inner)
        axes = ranges if isinstance(ranges, NoMatch) else normalize_axes(ranges.axes, rank)
        if isinstance(ranges, NoMatch) or isinstance(axes, NoMatch):
            return NoMatch("bounds are not constant")
        if axes != (axis,) or ranges.starts[0] < 0 or ranges.steps[0] < 1:
            return NoMatch("it takes a part of other axes, or from the end")
        return tuple(ranges.starts[0] + ranges.steps[0] * number for number in numbers)


class GatherBeforeTranspose(RewritePattern):
    """Gather(Transpose(x)) -> Gather(x), where the axes that are left are in order."""

    name: ClassVar[str] = "gather-before-transpose"
    roots: ClassVar[tuple[str, ...]] = ("Gather",)
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Gather(op.Transpose(any_("x"), perm=(1, 0, 2)), const("i", scalar=True), axis=0),
        op.Gather(op.Transpose(any_("x"), perm=(1, 0)), const("i", scalar=True), axis=0),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """The axis must go: one element is looked up."""
        data, which = node.inputs[0], node.inputs[1]
        transpose = _inner(data, node, ("Transpose",))
        order = None if transpose is None or data is None or data.rank is None else order_of(transpose, data.rank)
        if (
            transpose is None
            or order is None
            or which is None
            or which.rank != 0
            or data is None
            or data.dtype in _TEXT
        ):
            return NoMatch("not one element of a Transpose")
        axes = normalize_axes((node.int_attr("axis", 0),), len(order))
        if isinstance(axes, NoMatch):
            return axes
        left = [before for axis, before in enumerate(order) if axis != axes[0]]
        if left != sorted(left):
            return NoMatch("axes %s would still have to be moved", left)
        rw.matched = [node, transpose] if data.has_single_use else [node]
        return rw.new("Gather", transpose.inputs[0], which, axis=order[axes[0]])


RULES = (GatherOfPart(), GatherBeforeTranspose())
