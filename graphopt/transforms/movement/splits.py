"""Takes a tensor apart with as few nodes as possible.

A Slice of one element that loses its axis at once is a Gather. Slices of one tensor that lie side by side along an axis and together take
all of it become one Split; a Split into single elements whose parts all lose that axis becomes a Gather for each part. Not for text, of
which ONNX Runtime's Gather loses some. Exact. Source: https://onnx.ai/onnx/operators/onnx__Split.html
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graphopt.ir import DType, Node, Value
from graphopt.rewriting import IN_PLACE, NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.operands import ints_operand, normalize_axes
from graphopt.transforms.slice_ranges import read_ranges

__all__ = ["RULES"]

#: A tensor with more readers than that is taken apart element by element, not in parts.
_MANY = 64
_TEXT = frozenset({DType.STRING, None})
_LARGEST_INT32 = (1 << 31) - 1
#: Element types that runtimes split.
_DTYPES = frozenset({DType.FLOAT, DType.FLOAT16, DType.DOUBLE, DType.INT32, DType.INT64, DType.UINT8, DType.BOOL})


def _part(node: Node, x: Value) -> tuple[int, int, int] | None:
    """Axis, start and end of a Slice of ``x`` along one axis of known size, in steps of 1."""
    if node.op != "Slice" or node.inputs[0] is not x or node.has_references or x.shape is None:
        return None
    ranges = read_ranges(node)
    if isinstance(ranges, NoMatch) or len(ranges.axes) != 1 or ranges.steps != (1,):
        return None
    axis = ranges.axes[0] + (len(x.shape) if ranges.axes[0] < 0 else 0)
    size = x.shape[axis] if 0 <= axis < len(x.shape) else None
    if not isinstance(size, int):
        return None
    start, end = (min(max(at + size if at < 0 else at, 0), size) for at in (ranges.starts[0], ranges.ends[0]))
    return (axis, start, end) if start < end else None


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


class SplitInsteadOfSlices(RewritePattern):
    """Slice[0:k](x), Slice[k:n](x) -> Split(x)."""

    name: ClassVar[str] = "split-instead-of-slices"
    roots: ClassVar[tuple[str, ...]] = ("Slice",)
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = tuple(
        op.Concat(
            op.Slice(any_("x"), const("zero", equal_to=0), const("one", equal_to=1), const("axis", equal_to=axis)),
            op.Slice(any_("x"), const("one", equal_to=1), const("end", equal_to=1 << 31), const("axis", equal_to=axis)),
        )
        for axis in (0, 1)
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Start at the Slice that takes the beginning."""
        x = node.inputs[0]
        if x is None or x.dtype not in _DTYPES or not 2 <= x.use_count <= _MANY or (node.opset or 0) < 2:
            return NoMatch("nobody else takes a part")
        found = _part(node, x)
        if found is None or found[1] != 0:
            return NoMatch("not the first part of an axis")
        axis, _, end = found
        size = x.shape[axis] if x.shape is not None else None
        starts = self._others(node, x, axis)
        parts, sizes = [node], [end]
        while end != size:
            if end not in starts:
                return NoMatch("nobody takes what begins at %d of axis %d", end, axis)
            part, last = starts[end]
            parts.append(part)
            sizes.append(last - end)
            end = last
        if len(parts) < 2:
            return NoMatch("the part is everything")
        if any(reader.op == "Slice" for part in parts if part.output.has_single_use for reader in part.output.users):
            return NoMatch("a Slice of a part merges with it")
        stated: dict[str, object] = {"axis": axis}
        inputs: list[Value | None] = [x]
        if (node.opset or 0) < 13:
            stated["split"] = tuple(sizes)
        else:
            inputs.append(rw.constant(np.array(sizes, np.int64)))
        split = rw.new_node("Split", inputs, outputs=len(parts), attributes=stated)
        rw.put_behind(x, split)
        for part, output in zip(parts[1:], split.outputs[1:], strict=True):
            rw.replace(part.output, output)
            rw.erase_if_unused(part)
        return split.outputs[0]

    @staticmethod
    def _others(node: Node, x: Value, axis: int) -> dict[int, tuple[Node, int]]:
        """Other parts along the axis by where they start, with where they end."""
        starts: dict[int, tuple[Node, int]] = {}
        for user in x.users:
            part = _part(user, x) if user is not node and user.graph is node.graph else None
            if part is not None and part[0] == axis:
                starts.setdefault(part[1], (user, part[2]))
        return starts


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


RULES = (GatherInsteadOfSlice(), SplitInsteadOfSlices(), GatherInsteadOfSplit())
