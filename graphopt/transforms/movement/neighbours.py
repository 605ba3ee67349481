"""Takes neighbours at once: lookups of places side by side, and parts that lie side by side.

``Gather[[2, 3, 4]](x) -> Slice[2:5](x)``, which other rules can go on with; ``Concat(a, b)`` of neighbouring parts of one Split that nobody
else reads becomes a larger part of it; a Split of which one part is read is a Slice. Exact.
Source: https://onnx.ai/onnx/operators/onnx__Slice.html, onnx__Split.html
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graphopt.ir import DType, Node, Value
from graphopt.rewriting import NoMatch, Replacement, RewritePattern, Rewriter
from graphopt.transforms.movement.alignment import producer_of
from graphopt.transforms.movement.gathers import places_of

__all__ = ["RULES"]

_END = (1 << 63) - 1
_SPLIT_DTYPES = frozenset({DType.FLOAT, DType.FLOAT16, DType.DOUBLE, DType.INT32, DType.INT64, DType.UINT8, DType.BOOL})


class SliceInsteadOfGather(RewritePattern):
    """Gather[[i, i + 1, ...]](x) -> Slice[i:j](x)."""

    name: ClassVar[str] = "slice-instead-of-gather"
    roots: ClassVar[tuple[str, ...]] = ("Gather",)
    reach: ClassVar[int] = 1

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Two places and more, all counted from the same end."""
        found = places_of(node)
        if isinstance(found, NoMatch):
            return found
        x, axis, numbers, rank = found
        if rank != 1 or len(numbers) < 2 or (node.opset or 0) < 10 or x.is_constant:
            return NoMatch("%s places of rank %d", len(numbers), rank)
        start, end = numbers[0], numbers[-1] + 1
        if numbers != tuple(range(start, end)) or start < 0 < end:
            return NoMatch("places %s are not side by side", numbers)
        bounds = [np.array([number], np.int64) for number in (start, end if end else _END, axis)]
        return rw.new("Slice", x, *bounds)


def _sizes(split: Node, axis: int) -> list[int] | None:
    sizes = [part.shape[axis] if part.shape is not None and axis < len(part.shape) else None for part in split.outputs]
    known = [size for size in sizes if isinstance(size, int)]
    return known if len(known) == len(sizes) else None


class JoinPartsOfSplit(RewritePattern):
    """Concat(a, b) of a, b, c = Split(x) -> d of d, c = Split(x)."""

    name: ClassVar[str] = "join-parts-of-split"
    roots: ClassVar[tuple[str, ...]] = ("Concat",)
    reach: ClassVar[int] = 2

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """The first run of parts that follow one another, in a Concat along the axis of the Split."""
        first = next(iter(node.inputs), None)
        rank = None if first is None else first.rank
        if rank is None or not -rank <= node.int_attr("axis", 0) < rank:
            return NoMatch("the rank is not known")
        axis = node.int_attr("axis", 0) % rank
        for place in range(len(node.inputs) - 1):
            run = _run(node, place, axis, rank)
            if len(run) > 1:
                return self._join(node, place, run, axis, rw)
        return NoMatch("no parts of one Split follow one another")

    @staticmethod
    def _join(node: Node, place: int, run: list[Value], axis: int, rw: Rewriter) -> Replacement:
        split = run[0].producer
        assert split is not None, "they are parts of it"
        x, sizes = split.inputs[0], _sizes(split, axis)
        if x is None or sizes is None or x.dtype not in _SPLIT_DTYPES:
            return NoMatch("sizes of the parts are not known")
        start, end = run[0].index, run[-1].index + 1
        if end - start == len(sizes):
            joined: Value = x
            others: list[tuple[Value, Value]] = []
        else:
            merged = [*sizes[:start], sum(sizes[start:end]), *sizes[end:]]
            stated: dict[str, object] = {"axis": axis}
            inputs: list[Value | None] = [x]
            if (node.opset or 0) < 13:
                stated["split"] = tuple(merged)
            else:
                inputs.append(rw.constant(np.array(merged, np.int64)))
            made = rw.new_node("Split", inputs, outputs=len(merged), attributes=stated)
            rw.put_behind(x, made)
            joined = made.outputs[start]
            kept = [*split.outputs[:start], *split.outputs[end:]]
            others = list(zip(kept, [*made.outputs[:start], *made.outputs[start + 1 :]], strict=True))
        parts = [*node.inputs[:place], joined, *node.inputs[place + len(run) :]]
        result = rw.new_node("Concat", parts, attributes=dict(node.attributes)).output if len(parts) > 1 else joined
        rw.matched = [node, split]
        for old, new in others:
            rw.replace(old, new)
        return result


def _run(node: Node, place: int, axis: int, rank: int) -> list[Value]:
    """Operands from ``place`` on that are parts of one Split, one after the other, which nobody else reads."""
    first = node.inputs[place]
    split = producer_of(first, ("Split",), node)
    if split is None or first is None or (split.int_attr("axis", 0) % rank) != axis:
        return []
    run: list[Value] = []
    for value in node.inputs[place:]:
        if value is None or value.producer is not split or not value.has_single_use:
            break
        if value.index != first.index + len(run):
            break
        run.append(value)
    return run


class SliceInsteadOfSplit(RewritePattern):
    """Split(x) -> Slice(x) where only one part is read."""

    name: ClassVar[str] = "slice-instead-of-split"
    roots: ClassVar[tuple[str, ...]] = ("Split",)
    reach: ClassVar[int] = 2

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Its place must be known, and it must not be everything."""
        read = [part for part in node.outputs if part.is_used]
        x = node.inputs[0]
        if len(read) != 1 or len(node.outputs) < 2 or x is None or x.rank is None or (node.opset or 0) < 10:
            return NoMatch("%d parts are read", len(read))
        axis, (part,) = node.int_attr("axis", 0), read
        sizes = _sizes(node, axis % x.rank) if -x.rank <= axis < x.rank else None
        if sizes is None:
            return NoMatch("sizes of the parts are not known")
        start = sum(sizes[: part.index])
        bounds = [np.array([number], np.int64) for number in (start, start + sizes[part.index], axis)]
        found: list[Value | None] = [None] * len(node.outputs)
        found[part.index] = rw.new("Slice", x, *bounds)
        return found


RULES = (SliceInsteadOfGather(), JoinPartsOfSplit(), SliceInsteadOfSplit())
