"""Queries, keys and values of one product are taken apart before heads are split and moved.

``Gather(Transpose[2, 0, 3, 1, 4](Reshape(x -> [B, S, 3, N, H])), i) -> Transpose(Reshape(Split(x)[i] -> [B, S, N, H]))`` for all parts,
where the last one, the values, enters attention, which then takes the parts as they are; and so for heads that were moved together and
split on their axis. Numerics: exact.
"""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np

from graphopt.ir import Node, Value
from graphopt.numerics import Exact, Numerics
from graphopt.rewriting import IN_PLACE, NoMatch, Replacement, RewritePattern, Rewriter
from graphopt.transforms.broadcasting import same_dim
from graphopt.transforms.fusion.attention.layouts import is_reshape
from graphopt.transforms.fusion.attention.plan import find_join, make_plan
from graphopt.transforms.fusion.attention.shapes import split_heads, transpose
from graphopt.transforms.operands import constant_ints

__all__ = ["SplitPackedFactors", "SplitPackedHeads"]

_PERM: Final = (2, 0, 3, 1, 4)
_SIZES_ARE_INPUTS: Final = 13


class SplitPackedFactors(RewritePattern):
    """Gather(Transpose(Reshape(x)), i) -> Transpose(Reshape(Split(x)[i])), for each part."""

    name: ClassVar[str] = "split-packed-factors"
    roots: ClassVar[tuple[str, ...]] = ("Transpose",)
    numerics: ClassVar[Numerics] = Exact()
    reach: ClassVar[int] = 10

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """All readers must be parts, each a different one."""
        apart = node.inputs[0]
        if node.ints_attr("perm") != _PERM or apart is None or not apart.has_single_use or node.output.is_graph_output:
            return NoMatch("no packed factors")
        reshape = apart.producer
        source = None if reshape is None or not is_reshape(reshape) else reshape.inputs[0]
        shape, whole = apart.shape, None if source is None else source.shape
        if (
            source is None
            or reshape is None
            or shape is None
            or whole is None
            or len(whole) != 3
            or reshape.graph is not node.graph
        ):
            return NoMatch("no packed factors")
        count, heads, size = shape[2:]
        if not isinstance(count, int) or not isinstance(heads, int) or not isinstance(size, int):
            return NoMatch("the packed tensor is %s", apart.type)
        if whole[2] != count * heads * size or not any(map(same_dim, whole[:2], shape[:2])) or count < 2:
            return NoMatch("%s is not certainly %s", source.type, apart.type)
        parts = _parts(node.output, count)
        if parts is None:
            return NoMatch("other readers than single parts")
        if not _enters_attention(parts[count - 1]):
            return NoMatch("the last part is no factor of attention")
        width = heads * size
        modern = (rw.graph.opset() or 0) >= _SIZES_ARE_INPUTS
        sizes = [width] * count
        split = rw.new_node(
            "Split",
            [source, np.array(sizes, np.int64)] if modern else [source],
            outputs=count,
            attributes={"axis": 2} if modern else {"axis": 2, "split": sizes},
        )
        rw.matched = [node, reshape, *parts.values()]
        for place, gather in parts.items():
            moved = transpose(rw, split_heads(rw, split.outputs[place], heads, size), (0, 2, 1, 3))
            moved.type = gather.output.type
            rw.replace(gather.output, moved)
            rw.erase_if_unused(gather)
        return IN_PLACE


class SplitPackedHeads(RewritePattern):
    """Split(Transpose(Reshape(x)))[i] -> Transpose(Reshape(Split(x)[i])), for each part."""

    name: ClassVar[str] = "split-packed-heads"
    roots: ClassVar[tuple[str, ...]] = ("Split",)
    numerics: ClassVar[Numerics] = Exact()
    reach: ClassVar[int] = 10
    min_opset: ClassVar[int] = _SIZES_ARE_INPUTS

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Heads were moved together, and a part enters attention."""
        moved = node.inputs[0]
        mover = None if moved is None or not moved.has_single_use else moved.producer
        apart = None if mover is None or mover.op != "Transpose" else mover.inputs[0]
        if node.int_attr("axis", 0) != 1 or mover is None or apart is None or not apart.has_single_use:
            return NoMatch("no heads that were moved together")
        reshape = apart.producer
        source = None if reshape is None or not is_reshape(reshape) else reshape.inputs[0]
        if (
            source is None
            or reshape is None
            or mover.ints_attr("perm") != (0, 2, 1, 3)
            or reshape.graph is not node.graph
        ):
            return NoMatch("no heads that were moved together")
        shape, whole = apart.shape, source.shape
        if (
            shape is None
            or whole is None
            or len(whole) != 3
            or len(shape) != 4
            or not any(map(same_dim, whole[:2], shape[:2]))
        ):
            return NoMatch("%s is not certainly %s", source.type, apart.type)
        heads, size = (
            [value.shape[1] if value.shape is not None and value.rank == 4 else None for value in node.outputs],
            shape[3],
        )
        counts = [count for count in heads if isinstance(count, int)]
        if len(counts) != len(heads) or not isinstance(size, int) or whole[2] != sum(counts) * size:
            return NoMatch("sizes of heads are not known")
        if not any(map(_are_values, node.outputs)):
            return NoMatch("no part is a factor of attention")
        split = rw.new_node(
            "Split",
            [source, np.array([count * size for count in counts], np.int64)],
            outputs=len(counts),
            attributes={"axis": 2},
        )
        rw.matched = [node, mover, reshape]
        made = [
            transpose(rw, split_heads(rw, value, count, size), (0, 2, 1, 3))
            for value, count in zip(split.outputs, counts, strict=True)
        ]
        return list(made)


def _parts(value: Value, count: int) -> dict[int, Node] | None:
    """The readers by the part that they take; ``None`` if others read, or two take the same."""
    found: dict[int, Node] = {}
    for user in value.users:
        index = user.input_at(1) if user.op == "Gather" and user.input_at(0) is value else None
        numbers = None if index is None or index.rank != 0 else constant_ints(index)
        if numbers is None or isinstance(numbers, NoMatch) or user.int_attr("axis", 0) != 0 or user.has_references:
            return None
        if user.graph is not value.home or not -count <= numbers[0] < count or numbers[0] % count in found:
            return None
        found[numbers[0] % count] = user
    return found if len(found) == count else None


def _enters_attention(part: Node) -> bool:
    """Whether a part is the values of attention."""
    return _are_values(part.output)


def _are_values(value: Value) -> bool:
    for user in value.users:
        if user.op == "MatMul" and user.input_at(1) is value:
            if not isinstance(make_plan(user, find_join(user)), NoMatch):
                return True
        elif user.op == "Attention" and user.input_at(2) is value:
            return True
    return False
