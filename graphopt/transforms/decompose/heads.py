"""Attention by simpler operators: products, a softmax, and heads that are split, moved, repeated and joined."""

from __future__ import annotations

import numpy as np

from graphopt.ir import Node, Value
from graphopt.transforms.decompose.spelling import Spelling

__all__ = ["core", "head_major", "joined", "last", "presents", "repeat_heads", "size_at", "with_past"]

_SWAPPED = (0, 2, 1, 3)


def core(make: Spelling, query: Value, key: Value, value: Value, scale: float, mask: Value | None) -> Value:
    """softmax(scale * Q @ K^T + mask) @ V, all as [B, N, S, H]."""
    scores = make.of("MatMul", make.of("Mul", query, scale), make.of("Transpose", key, perm=(0, 1, 3, 2)))
    if mask is not None:
        scores = make.of("Add", scores, mask)
    return make.of("MatMul", make.of("Softmax", scores, axis=-1), value)


def head_major(make: Spelling, value: Value, heads: int) -> Value:
    """[B, S, N*H] to [B, N, S, H]."""
    size = np.array([0, 0, heads, -1], np.int64)
    return make.of("Transpose", make.of("Reshape", value, size), perm=_SWAPPED)


def joined(make: Spelling, value: Value, width: int) -> Value:
    """[B, N, S, H] to [B, S, N*H]."""
    return make.of("Reshape", make.of("Transpose", value, perm=_SWAPPED), np.array([0, 0, width], np.int64))


def with_past(make: Spelling, past: Value | None, value: Value) -> Value:
    """[B, N, P, H] and [B, N, L, H] to [B, N, P + L, H]."""
    return value if past is None else make.of("Concat", past, value, axis=2)


def repeat_heads(make: Spelling, value: Value, heads: int, times: int) -> Value:
    """[B, N, L, H] to [B, N*times, L, H], each head in place."""
    if times == 1:
        return value
    return make.rw.new_node(
        "Gather", [value, np.repeat(np.arange(heads, dtype=np.int64), times)], attributes={"axis": 1}
    ).output


def presents(node: Node, result: Value, key: Value, value: Value) -> list[Value | None]:
    """What stands for the outputs of an operator that also gives keys and values of all positions."""
    given: list[Value | None] = [result, key, value, *[None] * len(node.outputs)]
    return [item if output.is_used else None for item, output in zip(given, node.outputs, strict=False)]


def last(value: Value) -> int | None:
    """Size of the last axis, if it is a number."""
    return size_at(value, -1)


def size_at(value: Value, axis: int) -> int | None:
    """Size of an axis, if it is a number."""
    size = value.shape[axis] if value.shape else None
    return size if isinstance(size, int) else None
