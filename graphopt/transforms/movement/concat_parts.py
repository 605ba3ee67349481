"""Takes a part of a Concat from where it came.

``Slice(Concat(x, y)) -> y`` and ``Gather(Concat(x, y)) -> Gather(y)`` where sizes say that the part comes from one operand, and ``y``
itself where it is all of that. Exact.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graphopt.ir import Node, Value
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.movement.gathers import places_of
from graphopt.transforms.operands import normalize_axes
from graphopt.transforms.slice_ranges import read_ranges

__all__ = ["RULES"]

_LARGEST_INT32 = (1 << 31) - 1


class PartOfConcat(RewritePattern):
    """Slice(Concat(x, y)) -> y, Gather(Concat(x, y)) -> Squeeze(y), where exactly one part is taken."""

    name: ClassVar[str] = "part-of-concat"
    roots: ClassVar[tuple[str, ...]] = ("Slice", "Gather")
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Gather(op.Concat(any_("x"), any_("y"), axis=0), const("i", equal_to=0), axis=0),
        op.Slice(
            op.Concat(any_("x"), any_("y"), axis=0),
            const("zero", equal_to=0),
            const("one", equal_to=1),
            const("axis", equal_to=0),
        ),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Sizes of the parts before it must be known."""
        joined = node.inputs[0]
        concat = None if joined is None else joined.producer
        if joined is None or concat is None or concat.op != "Concat" or concat.has_references or joined.rank is None:
            return NoMatch("nothing is joined")
        axis = concat.int_attr("axis", 1) % joined.rank
        taken = self._taken(node, axis, joined)
        if isinstance(taken, NoMatch):
            return taken
        start = 0
        for part in concat.inputs:
            size = None if part is None or part.shape is None or part.rank != joined.rank else part.shape[axis]
            if part is None or not isinstance(size, int):
                return NoMatch("the size of a part is not known")
            if start <= taken[0] < start + size:
                return self._answer(node, part, (taken[0] - start, taken[1] - start), size, axis, rw)
            start += size
        return NoMatch("nothing is taken, or of the end")

    @staticmethod
    def _taken(node: Node, axis: int, joined: Value) -> tuple[int, int] | NoMatch:
        if node.op == "Gather":
            found = places_of(node)
            if isinstance(found, NoMatch) or found[1] != axis or len(found[2]) != 1 or found[2][0] < 0:
                return NoMatch("not one place from the front along the axis")
            return found[2][0], found[2][0] + 1
        ranges = read_ranges(node)
        if isinstance(ranges, NoMatch) or normalize_axes(ranges.axes, joined.rank) != (axis,) or ranges.steps != (1,):
            return NoMatch("not one range along the axis")
        if not 0 <= ranges.starts[0] < ranges.ends[0] < _LARGEST_INT32:
            return NoMatch("the range counts from the back, or to the end")
        return ranges.starts[0], ranges.ends[0]

    @staticmethod
    def _answer(node: Node, part: Value, taken: tuple[int, int], size: int, axis: int, rw: Rewriter) -> Replacement:
        if node.op == "Slice":
            return part if taken == (0, size) else NoMatch("a part is taken in parts")
        which = node.inputs[1]
        if which is None or which.const is None:
            return NoMatch("the place is not constant")
        place = np.array(taken[0], np.int64).reshape(which.const.shape)
        return part if size == 1 and which.rank == 1 else rw.new("Gather", part, place, axis=axis)


RULES = (PartOfConcat(),)
