"""Spells out ``com.microsoft::GroupQueryAttention`` for one position after all others.

The inverse of a rule of ``fuse-microsoft-attention``. Heads of keys and values are gathered once for each query that shares them. That no
position is padded must be plain: ``seqlens_k`` is a constant, or made of the shape of the past. Numerics: re-associates.
Source: ONNX Runtime's docs/ContribOperators.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from graphopt.ir import Dim, DType, Node, Value
from graphopt.rewriting import NoMatch
from graphopt.transforms.broadcasting import same_dim
from graphopt.transforms.decompose.heads import core, head_major, joined, last, presents, repeat_heads, with_past
from graphopt.transforms.decompose.spelling import Spelling, SpellOut
from graphopt.transforms.operands import constant_ints

__all__ = ["SpellOutGroupQueryAttention"]

_PLAIN = {"do_rotary": 0, "local_window_size": -1, "smooth_softmax": 0, "sliding_window_cache": 0, "qk_output": 0}


class SpellOutGroupQueryAttention(SpellOut):
    """com.microsoft::GroupQueryAttention(q, k, v, past, past') -> MatMul(Softmax(MatMul(q, Concat(past, k))), Concat(past', v))."""

    name: ClassVar[str] = "spell-out-group-query-attention"
    roots: ClassVar[tuple[str, ...]] = ("com.microsoft::GroupQueryAttention",)
    min_opset: ClassVar[int] = 13
    dtypes: ClassVar[frozenset[DType]] = frozenset({DType.FLOAT, DType.FLOAT16})

    def spell(self, x: Value, node: Node, make: Spelling) -> Sequence[Value | None] | NoMatch:
        """Only what ``fuse-microsoft-attention`` makes."""
        key, value, past, past_value, lengths = (node.input_at(place) for place in range(1, 6))
        if key is None or value is None or past is None or past_value is None or lengths is None:
            return NoMatch("it packs its factors, or has no past")
        extra = [item for place, item in enumerate(node.inputs) if place in (7, 8, 9) or place > 10]
        if any(item is not None for item in extra) or any(item.is_used for item in node.outputs[3:]):
            return NoMatch("it turns positions, or has scales or norms")
        if any(node.int_attr(name, plain) != plain for name, plain in _PLAIN.items()) or node.float_attr(
            "softcap", 0.0
        ):
            return NoMatch("it has a window, limits scores, or turns positions")
        heads, shared = node.int_attr("num_heads", 0), node.int_attr("kv_num_heads", 0)
        width = last(x)
        if x.shape is None or x.rank != 3 or x.shape[1] != 1 or not heads or not shared or heads % shared or not width:
            return NoMatch("the query is %s, expected one position", x.type)
        if past.shape is None or past.rank != 4 or not _are_all(lengths, past):
            return NoMatch("positions may be padded")
        scale = node.float_attr("scale", 0.0) or 1 / math.sqrt(width / heads)
        keys = with_past(make, past, head_major(make, key, shared))
        values = with_past(make, past_value, head_major(make, value, shared))
        all_keys, all_values = (repeat_heads(make, item, shared, heads // shared) for item in (keys, values))
        result = core(make, head_major(make, x, heads), all_keys, all_values, scale, node.input_at(10))
        return presents(node, joined(make, result, width), keys, values)


def _are_all(lengths: Value, past: Value) -> bool:
    """Whether each of some lengths is certainly that of the past, so that the new position is the last one."""
    length = past.shape[2] if past.shape is not None else None
    for _ in range(4):
        numbers = constant_ints(lengths)
        if not isinstance(numbers, NoMatch):
            return isinstance(length, int) and set(numbers) == {length}
        node = lengths.producer
        source = None if node is None or not node.inputs else node.inputs[0]
        if node is None or source is None or (node.attributes and node.has_references):
            return False
        if node.op in ("Cast", "Expand"):
            lengths = source
            continue
        axis = _axis_of_shape(node, source)
        whole = source if node.op == "Shape" else None if source.producer is None else source.producer.inputs[0]
        return axis is not None and whole is not None and bool(whole.shape) and same_dim(_size(whole, axis), length)
    return False


def _axis_of_shape(node: Node, source: Value) -> int | None:
    """The axis whose size a node gives, as a vector of one number."""
    if node.op == "Shape":
        start, end = node.attr("start", 0), node.attr("end")
        return start if isinstance(start, int) and isinstance(end, int) and end == start + 1 and start >= 0 else None
    if node.op != "Gather" or source.producer is None or source.producer.op != "Shape" or source.producer.attributes:
        return None
    index = node.input_at(1)
    numbers = None if index is None else constant_ints(index)
    if numbers is None or isinstance(numbers, NoMatch) or len(numbers) != 1 or node.int_attr("axis", 0) != 0:
        return None
    return numbers[0] if numbers[0] >= 0 else None


def _size(value: Value, axis: int) -> Dim:
    return value.shape[axis] if value.shape is not None and axis < len(value.shape) else None
