"""Takes a tensor apart with one node.

Slices of one tensor that lie side by side along an axis and together take all of it become one Split. Exact.
Source: https://onnx.ai/onnx/operators/onnx__Split.html
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graphopt.ir import DType, Node, Value
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.slice_ranges import read_ranges

__all__ = ["RULES"]

#: A tensor with more readers than that is taken apart element by element, not in parts.
_MANY = 64
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


RULES = (SplitInsteadOfSlices(),)
