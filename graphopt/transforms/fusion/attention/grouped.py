"""Attention whose queries share heads of keys and values, for one new position: ``com.microsoft::GroupQueryAttention``.

``MultiHeadAttention(q, repeat(Concat(past, k)), repeat(Concat(past', v)), mask) -> GroupQueryAttention(q, k, v, past, past', ...)``:
neither are all positions copied for each query, nor are they joined by an operator of their own. The operator is causal, which says
nothing for one position after all others; none is padded: ``seqlens_k`` is the length of the past for each member of the batch.

What ONNX Runtime's kernel for processors wants (found by trying it): float32, sizes of heads that 8 divides; several new positions after a
past only for a batch of 1; and a batch of 0 ends the process, so that the batch must be a number. It gives 0 for a row of the mask that is
the lowest number or -inf throughout, where others give equal weights or NaN: masks are raised for it, or stay. Longer queries stay
MultiHeadAttention with repeated keys, for which nothing but a causal mask could be proved. Positions are turned before, by
RotaryEmbedding, so that tables may be computed. Numerics: re-associates. Source: ONNX Runtime's docs/ContribOperators.md.
"""

from __future__ import annotations

import math
from typing import ClassVar, Final

import numpy as np

from graphopt.ir import DType, Node, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Replacement, RewritePattern, Rewriter
from graphopt.transforms.fusion.attention.cached import hand_on_presents
from graphopt.transforms.fusion.attention.caches import Cache, find_caches
from graphopt.transforms.fusion.attention.layouts import Layout, scalar
from graphopt.transforms.fusion.attention.levels import clamped, levels_of, must_clamp
from graphopt.transforms.fusion.attention.repeats import repeated
from graphopt.transforms.fusion.attention.shapes import join_heads, size_vector

__all__ = ["UseGroupQueryAttention"]

_OP: Final = "com.microsoft::GroupQueryAttention"
_SIZES: Final = 8


class UseGroupQueryAttention(RewritePattern):
    """com.microsoft::MultiHeadAttention(q, repeat(Concat(past, k)), ...) -> com.microsoft::GroupQueryAttention(q, k, v, past, ...)."""

    name: ClassVar[str] = "use-group-query-attention"
    roots: ClassVar[tuple[str, ...]] = ("com.microsoft::MultiHeadAttention",)
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 7
    min_opset: ClassVar[int] = 13
    makes: ClassVar[str] = _OP
    kernel_dtype: ClassVar[str] = "float"

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """One new position, a batch that is a number."""
        query, mask = node.input_at(0), node.input_at(5)
        shape = None if query is None else query.shape
        if query is None or shape is None or len(shape) != 3 or query.dtype is not DType.FLOAT:
            return NoMatch("the query is %s", None if query is None else query.type)
        batch = shape[0]
        if shape[1] != 1 or not isinstance(batch, int) or batch < 1:
            return NoMatch("the query is %s, expected one position and a known batch", query.type)
        extra = [item for place, item in enumerate(node.inputs) if place in (3, 4) or place > 5]
        if any(item is not None for item in extra) or len(node.outputs) > 1 or node.int_attr("unidirectional", 0):
            return NoMatch("it has a bias, padding or a cache, or is causal")
        caches = _shared_caches(node)
        if isinstance(caches, NoMatch):
            return caches
        heads, shared, size = node.int_attr("num_heads", 0), caches[0].new.number("N"), caches[0].new.number("H")
        for cache in caches:
            new = cache.new
            if not shared or not size or new.number("N") != shared or new.number("H") != size or new.number("S") != 1:
                return NoMatch("new keys or values are %s", new.sizes)
            if not (Layout.BSD in new.seen or Layout.BSNH in new.seen):
                return NoMatch("new positions were not split and moved")
        if not shared or not size or size % _SIZES or shape[2] != heads * size:
            return NoMatch("heads have %s numbers", size)
        guard = _guard(node.output)
        clamp = _clamps(mask, guarded=guard is not None)
        if isinstance(clamp, NoMatch):
            return clamp
        rw.matched = [node, *(cache.concat for cache in caches)]
        made = _emit(node, rw, caches, (batch, shared, size), clamped(rw, mask) if clamp and mask is not None else mask)
        if guard is not None:
            rw.replace(guard.output, made.output)
            rw.erase_if_unused(guard)
        return made.output


def _emit(
    node: Node, rw: Rewriter, caches: tuple[Cache, Cache], sizes: tuple[int, int, int], mask: Value | None
) -> Node:
    batch, shared, size = sizes
    keys, values = (join_heads(rw, cache.new, shared, size).value for cache in caches)
    length = rw.new("Cast", size_vector(rw, caches[0].past, 2), to=int(DType.INT32))
    total = rw.new("Add", length, np.ones(1, np.int32))
    lengths = length if batch == 1 else rw.new("Expand", length, np.array([batch], np.int64))
    pasts = [cache.past for cache in caches]
    scale = node.float_attr("scale", 0.0) or float(np.float32(1 / math.sqrt(size)))
    made = rw.new_node(
        _OP,
        [node.inputs[0], keys, values, *pasts, lengths, total, None, None, None, mask],
        outputs=3,
        attributes={"num_heads": node.int_attr("num_heads"), "kv_num_heads": shared, "scale": scale},
        name=node.name,
    )
    made.output.type = node.output.type
    hand_on_presents(rw, made, caches)
    return made


def _shared_caches(node: Node) -> tuple[Cache, Cache] | NoMatch:
    """The caches whose heads were repeated for a node that alone reads the result."""
    found: list[Value] = []
    for value in node.inputs[1:3]:
        source = None if value is None else repeated(value)
        if value is None or source is None:
            return NoMatch("keys or values are not repeated")
        inside: Value | None = value
        while inside is not None and inside is not source:
            if not inside.has_single_use:
                return NoMatch("repeated keys or values have other readers")
            inside = None if inside.producer is None else inside.producer.inputs[0]
        found.append(source)
    caches = find_caches(found[0], found[1], node)
    return NoMatch("keys and values are not joined of earlier and new ones") if caches is None else caches


def _clamps(mask: Value | None, *, guarded: bool) -> bool | NoMatch:
    """Whether a mask must be raised for the kernel."""
    if mask is None:
        return False
    levels = levels_of(mask)
    if levels is None:
        return NoMatch("the numbers of the mask are not known well enough")
    return must_clamp(levels.lows, mask, guarded=guarded)


def _guard(value: Value) -> Node | None:
    """The ``Where(IsNaN(value), 0, value)`` that alone reads a value."""
    users = value.users
    if value.is_graph_output or len(users) != 2 or value.use_count != 2:
        return None
    tested, chosen = users if users[0].op == "IsNaN" else users[::-1]
    if tested.op != "IsNaN" or chosen.op != "Where" or not tested.output.has_single_use:
        return None
    inside = chosen.inputs[0] is tested.output and chosen.inputs[2] is value and tested.graph is chosen.graph
    return chosen if inside and scalar(chosen.inputs[1], value.rank) == 0.0 else None
