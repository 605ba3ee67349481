"""Operators of attention take keys and values of earlier positions by themselves, and give both together.

``Attention(q, Concat(past, k), Concat(past', v)) -> Attention(q, k, v, past, past')`` and so for ``com.microsoft::MultiHeadAttention``,
where keys and values are joined on the axis of positions, ``[B, N, L, H]``; what others knew as the joined tensors, graph outputs as a
rule, are outputs of the operator then. A causal mask is counted from the past on there, so that causal operators stay.

Found by trying ONNX Runtime's kernels: the past may be empty; MultiHeadAttention takes the new positions as ``[B, L, N*H]`` only, and
values of the size of keys. Numerics: re-associates (other kernels for longer rows).
Source: https://onnx.ai/onnx/operators/onnx__Attention.html; ONNX Runtime's docs/ContribOperators.md.
"""

from __future__ import annotations

from typing import ClassVar, Final

from graphopt.ir import Node, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Replacement, RewritePattern, Rewriter
from graphopt.transforms.broadcasting import same_dim
from graphopt.transforms.fusion.attention.caches import Cache, find_caches
from graphopt.transforms.fusion.attention.layouts import Layout
from graphopt.transforms.fusion.attention.shapes import join_heads

__all__ = ["GiveAttentionCache", "GiveMultiHeadAttentionCache", "hand_on_presents"]

_MULTI_HEAD: Final = "com.microsoft::MultiHeadAttention"


class GiveAttentionCache(RewritePattern):
    """Attention(q, Concat(past, k), Concat(past', v)) -> Attention(q, k, v, past, past')."""

    name: ClassVar[str] = "give-attention-cache"
    roots: ClassVar[tuple[str, ...]] = ("Attention",)
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 2
    min_opset: ClassVar[int] = 23
    makes: ClassVar[str] = "Attention"

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Heads are on an axis of their own."""
        query, key, value = (node.input_at(place) for place in range(3))
        if query is None or key is None or value is None or query.rank != 4:
            return NoMatch("factors do not have heads on an axis of their own")
        if any(item is not None for item in node.inputs[4:]) or any(item.is_used for item in node.outputs[1:]):
            return NoMatch("it has a cache, or gives more than the result")
        if node.int_attr("is_causal", 0):
            return NoMatch("it is causal")
        caches = find_caches(key, value, node)
        if caches is None:
            return NoMatch("keys and values are not joined of earlier and new ones, or have other readers")
        rows, length = query.shape, caches[0].new.size("S")
        if rows is None or not (same_dim(rows[2], length) or (isinstance(length, int) and length > 0)):
            return NoMatch("there may be no new positions")
        keys, values = (cache.fresh() for cache in caches)
        rw.matched = [node, *(cache.concat for cache in caches)]
        pasts = [cache.past for cache in caches]
        made = rw.new_node(
            "Attention",
            [query, keys, values, node.input_at(3), *pasts],
            outputs=3,
            attributes=dict(node.attributes),
            name=node.name,
        )
        made.output.type = node.output.type
        hand_on_presents(rw, made, caches)
        return [made.output, *[None] * (len(node.outputs) - 1)]


class GiveMultiHeadAttentionCache(RewritePattern):
    """com.microsoft::MultiHeadAttention(q, Concat(past, k), Concat(past', v)) -> MultiHeadAttention(q, k, v, past, past')."""

    name: ClassVar[str] = "give-multi-head-attention-cache"
    roots: ClassVar[tuple[str, ...]] = (_MULTI_HEAD,)
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 4
    makes: ClassVar[str] = _MULTI_HEAD

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """The new positions are taken as they were before heads were split."""
        query, key, value = (node.input_at(place) for place in range(3))
        if query is None or key is None or value is None or query.rank != 3 or key.rank != 4 or value.rank != 4:
            return NoMatch("keys and values do not have heads on an axis of their own")
        extra = [item for place, item in enumerate(node.inputs) if place in (3, 4) or place > 5]
        if any(item is not None for item in extra) or len(node.outputs) > 1 or node.int_attr("unidirectional", 0):
            return NoMatch("it has a bias, padding or a cache, or is causal")
        caches = find_caches(key, value, node)
        if caches is None:
            return NoMatch("keys and values are not joined of earlier and new ones, or have other readers")
        heads, size = node.int_attr("num_heads", 0), caches[0].new.number("H")
        for cache in caches:
            if cache.new.number("N") != heads or not size or cache.new.number("H") != size:
                return NoMatch("%s heads of %s numbers", cache.new.sizes.get("N"), cache.new.sizes.get("H"))
            if not (Layout.BSD in cache.new.seen or Layout.BSNH in cache.new.seen):
                return NoMatch("new positions were not split and moved")
        rw.matched = [node, *(cache.concat for cache in caches)]
        keys, values = (join_heads(rw, cache.new, heads, size or 0).value for cache in caches)
        pasts = [cache.past for cache in caches]
        made = rw.new_node(
            _MULTI_HEAD,
            [query, keys, values, None, None, node.input_at(5), *pasts],
            outputs=3,
            attributes=dict(node.attributes),
            name=node.name,
        )
        made.output.type = node.output.type
        hand_on_presents(rw, made, caches)
        return made.output


def hand_on_presents(rw: Rewriter, made: Node, caches: tuple[Cache, Cache]) -> None:
    """Let outputs of an operator stand for what was joined before it.

    Args:
        rw: the rewriter.
        made: the operator, whose second and third output are keys and values of all positions.
        caches: of keys and values.
    """
    for cache, output in zip(caches, made.outputs[1:3], strict=True):
        present: Value = cache.present
        output.type = present.type
        rw.replace(present, output)
        rw.erase_if_unused(cache.concat)
