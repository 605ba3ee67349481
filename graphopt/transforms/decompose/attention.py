"""Spells out attention by products and a softmax, for targets that lack the operator: the inverse of ``fuse-attention``.

``com.microsoft::MultiHeadAttention`` with query ``[B, S, N*H]``, keys and values in that form or as ``[B, N, L, H]``, and an additive mask;
``Attention`` of opset 23 with factors of rank 3 or 4, heads shared by several queries, a mask of numbers or truth values. What has a cache,
a limit of the scores, a bias of its own, a mask of padding, or is causal, stays. Numerics: re-associates. Source: ONNX Runtime's
docs/ContribOperators.md; https://onnx.ai/onnx/operators/onnx__Attention.html
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.ir import DType, Node, TensorType, Value
from graphopt.rewriting import NoMatch, Rule
from graphopt.transforms.decompose.spelling import DecomposePass, Spelling, SpellOut

__all__ = ["DecomposeAttention"]

_SWAPPED = (0, 2, 1, 3)


def _core(make: Spelling, query: Value, key: Value, value: Value, scale: float, mask: Value | None) -> Value:
    """softmax(scale * Q @ K^T + mask) @ V, all as [B, N, S, H]."""
    scores = make.of("MatMul", make.of("Mul", query, scale), make.of("Transpose", key, perm=(0, 1, 3, 2)))
    if mask is not None:
        scores = make.of("Add", scores, mask)
    return make.of("MatMul", make.of("Softmax", scores, axis=-1), value)


def _head_major(make: Spelling, value: Value, heads: int) -> Value:
    """[B, S, N*H] to [B, N, S, H]."""
    size = np.array([0, 0, heads, -1], np.int64)
    return make.of("Transpose", make.of("Reshape", value, size), perm=_SWAPPED)


def _joined(make: Spelling, value: Value, width: int) -> Value:
    """[B, N, S, H] to [B, S, N*H]."""
    return make.of("Reshape", make.of("Transpose", value, perm=_SWAPPED), np.array([0, 0, width], np.int64))


class SpellOutMultiHeadAttention(SpellOut):
    """com.microsoft::MultiHeadAttention(q, k, v, mask) -> Reshape(Transpose(MatMul(Softmax(MatMul(q, k) + mask), v)))."""

    name: ClassVar[str] = "spell-out-multi-head-attention"
    roots: ClassVar[tuple[str, ...]] = ("com.microsoft::MultiHeadAttention",)
    min_opset: ClassVar[int] = 13
    dtypes: ClassVar[frozenset[DType]] = frozenset({DType.FLOAT, DType.FLOAT16})

    def spell(self, x: Value, node: Node, make: Spelling) -> Value | NoMatch:
        """Only what ``fuse-attention`` makes."""
        key, value, mask = node.input_at(1), node.input_at(2), node.input_at(5)
        extra = [item for place, item in enumerate(node.inputs) if place in (3, 4) or place > 5]
        if key is None or value is None or any(item is not None for item in extra):
            return NoMatch("it has a bias, a mask of padding or a cache, or packs its factors")
        if len(node.outputs) > 1 or node.int_attr("unidirectional", 0):
            return NoMatch("it is causal, or gives a cache")
        heads = node.int_attr("num_heads", 0)
        width, inner = _last(x), _last(value)
        if x.rank != 3 or key.rank != value.rank or key.rank not in (3, 4) or not heads or not width or not inner:
            return NoMatch("factors are %s, %s and %s", x.type, key.type, value.type)
        scale = node.float_attr("scale", 0.0) or 1 / math.sqrt(width / heads)
        keys, values = (
            (key, value) if key.rank == 4 else (_head_major(make, key, heads), _head_major(make, value, heads))
        )
        result = _core(make, _head_major(make, x, heads), keys, values, scale, mask)
        return _joined(make, result, inner * heads if key.rank == 4 else inner)


class SpellOutAttention(SpellOut):
    """Attention(q, k, v, mask) -> MatMul(Softmax(MatMul(q, k) + mask), v)."""

    name: ClassVar[str] = "spell-out-attention"
    roots: ClassVar[tuple[str, ...]] = ("Attention",)
    min_opset: ClassVar[int] = 23
    dtypes: ClassVar[frozenset[DType]] = frozenset({DType.FLOAT, DType.DOUBLE})

    def spell(self, x: Value, node: Node, make: Spelling) -> Value | NoMatch:
        """Heads that several queries share are repeated by a broadcast product."""
        key, value, mask = node.input_at(1), node.input_at(2), node.input_at(3)
        if key is None or value is None or any(item is not None for item in node.inputs[4:]):
            return NoMatch("it has a cache, or lengths")
        if any(item.is_used for item in node.outputs[1:]) or node.int_attr("is_causal", 0):
            return NoMatch("it is causal, or gives more than the result")
        if node.float_attr("softcap", 0.0) or node.attr("softmax_precision") not in (None, 1, 11):
            return NoMatch("scores are limited, or rounded")
        rank = x.rank
        if rank not in (3, 4) or key.rank != rank or value.rank != rank:
            return NoMatch("factors are %s, %s and %s", x.type, key.type, value.type)
        heads = node.int_attr("q_num_heads", 0) if rank == 3 else _axis(x, 1)
        shared = node.int_attr("kv_num_heads", 0) if rank == 3 else _axis(key, 1)
        width, inner = _last(x), _last(value)
        if not heads or heads != shared or not width or not inner:
            return NoMatch("%s heads of queries, %s of keys", heads, shared)
        if mask is not None and mask.dtype is DType.BOOL:
            mask = make.of("Where", mask, 0.0, float("-inf"))
        size = width // heads if rank == 3 else width
        scale = float(node.float_attr("scale", 0.0)) if node.attr("scale") is not None else 1 / math.sqrt(size)
        if rank == 4:
            return _core(make, x, key, value, scale, mask)
        query, keys, values = (_head_major(make, item, heads) for item in (x, key, value))
        return _joined(make, _core(make, query, keys, values, scale, mask), inner)


class SpellOutRotaryEmbedding(SpellOut):
    """com.microsoft::RotaryEmbedding(x, [0], cos, sin) -> x * [cos cos] + [-x2 x1] * [sin sin]."""

    name: ClassVar[str] = "spell-out-rotary-embedding"
    roots: ClassVar[tuple[str, ...]] = ("com.microsoft::RotaryEmbedding",)
    min_opset: ClassVar[int] = 13
    dtypes: ClassVar[frozenset[DType]] = frozenset({DType.FLOAT, DType.FLOAT16})

    def spell(self, x: Value, node: Node, make: Spelling) -> Value | NoMatch:
        """Only what ``fuse-microsoft-attention`` makes: tables with a row for each position, all numbers of a head turned."""
        start, cos, sin = (node.input_at(place) for place in (1, 2, 3))
        if start is None or cos is None or sin is None or not start.is_constant or start.const is None:
            return NoMatch("positions are not known")
        if start.const.shape != (1,) or start.const.numpy().any():
            return NoMatch("positions do not begin at 0")
        if any(node.int_attr(name, 0) for name in ("interleaved", "is_packed_batching", "rotary_embedding_dim")):
            return NoMatch("numbers are turned otherwise")
        half, rows = _last(cos), cos.shape[0] if cos.shape else None
        length = x.shape[1 if x.rank == 3 else 2] if x.shape is not None and x.rank in (3, 4) else None
        if not half or rows is None or rows != length or float(node.float_attr("scale", 1.0)) != 1.0:
            return NoMatch("the table %s is not certainly of the positions of %s", cos.type, x.type)
        width = _last(x)
        if x.rank == 3 and (not width or width % (2 * half)):
            return NoMatch("the tensor is %s", x.type)
        whole = x if x.rank == 4 else _head_major(make, x, (width or 0) // (2 * half))
        lower, upper = (
            make.of("Slice", whole, *(np.array([number], np.int64) for number in bounds))
            for bounds in ((0, half, 3), (half, 2 * half, 3))
        )
        turned = make.of("Concat", make.of("Neg", upper), lower, axis=-1)
        tables = [make.of("Concat", table, table, axis=-1) for table in (cos, sin)]
        result = make.of("Add", make.of("Mul", whole, tables[0]), make.of("Mul", turned, tables[1]))
        return result if x.rank == 4 else _joined(make, result, width or 0)


@dataclass(frozen=True)
class DecomposeAttention(DecomposePass):
    """Spell out attention by products and a softmax. Re-associates; needs types; idempotent."""

    name: ClassVar[str] = "decompose-attention"
    rules: ClassVar[tuple[Rule, ...]] = (SpellOutMultiHeadAttention(), SpellOutAttention(), SpellOutRotaryEmbedding())


def _last(value: Value) -> int | None:
    """Size of the last axis, if it is a number."""
    return _axis(value, -1)


def _axis(value: Value, axis: int) -> int | None:
    size = value.type.shape[axis] if isinstance(value.type, TensorType) and value.type.shape else None
    return size if isinstance(size, int) else None
