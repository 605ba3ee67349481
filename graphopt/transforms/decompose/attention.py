"""Spells out attention by products and a softmax, for targets that lack the operator: the inverse of ``fuse-attention``.

``com.microsoft::MultiHeadAttention`` with query ``[B, S, N*H]``, keys and values in that form or as ``[B, N, L, H]``, and an additive mask;
``Attention`` of opset 23 with factors of rank 3 or 4, heads shared by several queries, a mask of numbers or truth values; a cache of both;
``com.microsoft::GroupQueryAttention`` for one position after all others. What has a limit of the scores, a bias of its own, a mask of
padding, or is causal, stays. Numerics: re-associates. Source: ONNX Runtime's docs/ContribOperators.md;
https://onnx.ai/onnx/operators/onnx__Attention.html
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.ir import DType, Node, Value, constant_of
from graphopt.rewriting import NoMatch, Rule
from graphopt.transforms.decompose.grouped import SpellOutGroupQueryAttention
from graphopt.transforms.decompose.heads import (
    core,
    head_major,
    joined,
    last,
    presents,
    repeat_heads,
    size_at,
    with_past,
)
from graphopt.transforms.decompose.rotary import SpellOutRotaryEmbedding
from graphopt.transforms.decompose.spelling import DecomposePass, Spelling, SpellOut

__all__ = ["DecomposeAttention"]


class SpellOutMultiHeadAttention(SpellOut):
    """com.microsoft::MultiHeadAttention(q, k, v, mask) -> Reshape(Transpose(MatMul(Softmax(MatMul(q, k) + mask), v)))."""

    name: ClassVar[str] = "spell-out-multi-head-attention"
    roots: ClassVar[tuple[str, ...]] = ("com.microsoft::MultiHeadAttention",)
    min_opset: ClassVar[int] = 13
    dtypes: ClassVar[frozenset[DType]] = frozenset({DType.FLOAT, DType.FLOAT16})

    def spell(self, x: Value, node: Node, make: Spelling) -> Sequence[Value | None] | NoMatch:
        """Only what ``fuse-microsoft-attention`` makes."""
        key, value, mask = node.input_at(1), node.input_at(2), node.input_at(5)
        past, past_value = node.input_at(6), node.input_at(7)
        extra = [item for place, item in enumerate(node.inputs) if place in (3, 4) or place > 7]
        if (
            key is None
            or value is None
            or any(item is not None for item in extra)
            or (past is None) != (past_value is None)
        ):
            return NoMatch("it has a bias, a mask of padding or a shared cache, or packs its factors")
        if any(item.is_used for item in node.outputs[1 if past is None else 3 :]) or node.int_attr("unidirectional", 0):
            return NoMatch("it is causal, or gives more than the result and a cache")
        heads = node.int_attr("num_heads", 0)
        width, inner = last(x), last(value)
        if x.rank != 3 or key.rank != value.rank or key.rank not in (3, 4) or not heads or not width or not inner:
            return NoMatch("factors are %s, %s and %s", x.type, key.type, value.type)
        scale = node.float_attr("scale", 0.0) or 1 / math.sqrt(width / heads)
        flat = key.rank == 3
        keys = with_past(make, past, head_major(make, key, heads) if flat else key)
        values = with_past(make, past_value, head_major(make, value, heads) if flat else value)
        result = core(make, head_major(make, x, heads), keys, values, scale, mask)
        return presents(node, joined(make, result, inner if flat else inner * heads), keys, values)


class SpellOutAttention(SpellOut):
    """Attention(q, k, v, mask) -> MatMul(Softmax(MatMul(q, k) + mask), v)."""

    name: ClassVar[str] = "spell-out-attention"
    roots: ClassVar[tuple[str, ...]] = ("Attention",)
    min_opset: ClassVar[int] = 23
    dtypes: ClassVar[frozenset[DType]] = frozenset({DType.FLOAT, DType.DOUBLE})

    def spell(self, x: Value, node: Node, make: Spelling) -> Sequence[Value | None] | NoMatch:
        """Heads that several queries share are gathered once for each."""
        key, value, mask = node.input_at(1), node.input_at(2), node.input_at(3)
        past, past_value = node.input_at(4), node.input_at(5)
        if key is None or value is None or node.input_at(6) is not None or (past is None) != (past_value is None):
            return NoMatch("it has lengths, or half a cache")
        if any(item.is_used for item in node.outputs[1 if past is None else 3 :]) or node.int_attr("is_causal", 0):
            return NoMatch("it is causal, or gives more than the result and a cache")
        if node.float_attr("softcap", 0.0) or node.attr("softmax_precision") not in (None, 1, 11):
            return NoMatch("scores are limited, or rounded")
        if node.int_attr("left_window_size", -1) != -1 or node.int_attr("right_window_size", -1) != -1:
            return NoMatch("positions see a window of others")
        rank = x.rank
        if rank not in (3, 4) or key.rank != rank or value.rank != rank:
            return NoMatch("factors are %s, %s and %s", x.type, key.type, value.type)
        heads = node.int_attr("q_num_heads", 0) if rank == 3 else size_at(x, 1)
        shared = node.int_attr("kv_num_heads", 0) if rank == 3 else size_at(key, 1)
        width, inner = last(x), last(value)
        if not heads or not shared or heads % shared or not width or not inner:
            return NoMatch("%s heads of queries, %s of keys", heads, shared)
        allowed = mask if mask is not None and mask.dtype is DType.BOOL else None
        if allowed is not None:
            mask = make.of("Where", allowed, 0.0, float("-inf"))
        size = width // heads if rank == 3 else width
        scale = float(node.float_attr("scale", 0.0)) if node.attr("scale") is not None else 1 / math.sqrt(size)
        query, new_keys, new_values = x, key, value
        if rank == 3:
            query, new_keys, new_values = (
                head_major(make, item, count) for item, count in ((x, heads), (key, shared), (value, shared))
            )
        keys, values = with_past(make, past, new_keys), with_past(make, past_value, new_values)
        all_keys, all_values = (repeat_heads(make, item, shared, heads // shared) for item in (keys, values))
        result = core(make, query, all_keys, all_values, scale, mask)
        if allowed is not None:
            result = _zero_where_all_is_hidden(make, result, allowed)
        if rank == 3:
            result = joined(make, result, inner // shared * heads)
        return presents(node, result, keys, values)


def _zero_where_all_is_hidden(make: Spelling, result: Value, allowed: Value) -> Value:
    """Zeros for queries that may see no key, as ONNX has it; the softmax of nothing is no number."""
    constant = constant_of(allowed)
    if constant is not None and bool(constant.numpy().any(axis=-1).all()):
        return result
    seen = make.of("ReduceMax", make.of("Cast", allowed, to=int(make.dtype)), np.array([-1]))
    return make.of("Where", make.of("Greater", seen, 0.0), result, 0.0)


@dataclass(frozen=True)
class DecomposeAttention(DecomposePass):
    """Spell out attention by products and a softmax. Re-associates; needs types; idempotent."""

    name: ClassVar[str] = "decompose-attention"
    rules: ClassVar[tuple[Rule, ...]] = (
        SpellOutMultiHeadAttention(),
        SpellOutGroupQueryAttention(),
        SpellOutAttention(),
        SpellOutRotaryEmbedding(),
    )
