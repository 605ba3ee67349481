"""Takes single elements of an axis by lookups.

A Slice of one element that loses its axis at once is a Gather; a Split into single elements whose parts all lose that axis becomes a Gather
for each part. Not for text, of which ONNX Runtime's Gather loses some. Exact. Source: https://onnx.ai/onnx/operators/onnx__Gather.html
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graphopt.ir import DType, Node
from graphopt.rewriting import IN_PLACE, NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.operands import ints_operand, normalize_axes
from graphopt.transforms.slice_ranges import read_ranges

__all__ = ["RULES"]

#: A tensor with more readers than that is left alone.
_MANY = 64
_TEXT = frozenset({DType.STRING, None})
_LARGEST_INT32 = (1 << 31) - 1


class GatherInsteadOfSlice(RewritePattern):
    """Squeeze(Slice[i:i + 1](x)) -> Gather[i](x)."""

    name: ClassVar[str] = "gather-instead-of-slice"
    roots: ClassVar[tuple[str, ...]] = ("Slice",)
    benefit: ClassVar[int] = 2
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Squeeze(
            op.Slice(any_("x"), const("zero", equal_to=0), const("one", equal_to=1), const("axis", equal_to=0)),
            const("axis", equal_to=0),
        ),
        op.Squeeze(op.Slice(any_("x"), starts=(0,), ends=(1,), axes=(0,)), axes=(0,)),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """An axis that has no such element makes both forms fail."""
        x, ranges = node.inputs[0], read_ranges(node)
        if (
            x is None
            or x.dtype in _TEXT
            or isinstance(ranges, NoMatch)
            or len(ranges.axes) != 1
            or ranges.steps != (1,)
            or x.rank is None
        ):
            return NoMatch("not one range of constant bounds along one axis")
        start, end, axis = ranges.starts[0], ranges.ends[0], ranges.axes[0] + (x.rank if ranges.axes[0] < 0 else 0)
        if not (end == start + 1 != 0 or (start == -1 and end >= _LARGEST_INT32)) or not 0 <= axis < x.rank:
            return NoMatch("[%d:%d] is not one element", start, end)
        if start < 0 and (node.opset or 0) < 11:
            return NoMatch("Gather counts from the front before opset 11")
        part = node.output
        if not 1 <= part.use_count <= _MANY or part.is_graph_output:
            return NoMatch("%r is given out, or has %d readers", part.name, part.use_count)
        readers = part.users
        for user in readers:
            if user.op != "Squeeze" or user.graph is not node.graph or not _loses(user, axis, x.rank):
                return NoMatch("%r is read by %s", part.name, user.op)
        for user in readers:
            rw.replace(user.output, rw.new("Gather", x, np.array(start, np.int64), axis=axis))
            rw.erase_if_unused(user)
        return IN_PLACE


class GatherInsteadOfSplit(RewritePattern):
    """Squeeze(Split(x)) of single elements, for each of them -> Gather(x)."""

    name: ClassVar[str] = "gather-instead-of-split"
    roots: ClassVar[tuple[str, ...]] = ("Split",)
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = tuple(
        op.Squeeze(
            op.Split(any_("x"), const("sizes", optional=True, equal_to=1), axis=axis), const("axis", equal_to=axis)
        )
        for axis in (0, 1)
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Each part must have one element along the axis, and lose that axis at once."""
        x = node.inputs[0]
        axis = node.int_attr("axis", 0)
        if x is None or x.dtype in _TEXT or x.shape is None or not -len(x.shape) <= axis < len(x.shape):
            return NoMatch("the rank is not known")
        axis %= len(x.shape)
        if x.shape[axis] != len(node.outputs) or sum(part.use_count for part in node.outputs) > _MANY:
            return NoMatch("axis %d of %s is not split into single elements", axis, x.type)
        readers: list[tuple[int, Node]] = []
        for index, part in enumerate(node.outputs):
            if part.shape is None or part.shape[axis] != 1 or part.is_graph_output:
                return NoMatch("part %r has not one element, or is given out", part.name)
            for user in part.users:
                if user.op != "Squeeze" or user.graph is not node.graph or not _loses(user, axis, len(x.shape)):
                    return NoMatch("%r is read by %s", part.name, user.op)
                readers.append((index, user))
        if not readers:
            return NoMatch("nobody reads the parts")
        for index, user in readers:
            rw.replace(user.output, rw.new("Gather", x, np.array(index, np.int64), axis=axis))
            rw.erase_if_unused(user)
        rw.erase_if_unused(node)
        return IN_PLACE


def _loses(squeeze: Node, axis: int, rank: int) -> bool:
    """Whether a Squeeze takes away this axis only."""
    axes = ints_operand(squeeze, "axes", 1)
    return isinstance(axes, tuple) and not squeeze.has_references and normalize_axes(axes, rank) == (axis,)


RULES = (GatherInsteadOfSlice(), GatherInsteadOfSplit())
