"""Reads, and writes, what operators spell as attributes in some opsets and as inputs in others: axes, pads, shapes, repeats.

May import ``graphopt.ir`` and ``graphopt.rewriting``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphopt.ir import AttributeKind, Node, Value
from graphopt.rewriting import NoMatch, Rewriter

__all__ = ["constant_ints", "ints_operand", "normalize_axes", "with_first_axis"]

#: More numbers than any list of axes, pads or sizes has.
_MANY = 256


def constant_ints(value: Value) -> tuple[int, ...] | NoMatch:
    """The integers of a small constant tensor of any rank, in order."""
    if not value.is_constant or value.const is None:
        return NoMatch("%r is not constant", value.name)
    if value.const.size > _MANY or not value.const.dtype.is_integer:
        return NoMatch("%r is %s, expected a few integers", value.name, value.const.type)
    return tuple(value.const.numpy().reshape(-1).tolist())


def ints_operand(node: Node, name: str, position: int) -> tuple[int, ...] | NoMatch | None:
    """Integers given as an attribute or as a constant input.

    Args:
        node: the node.
        name: the attribute.
        position: the input, where the attribute is not stated.

    Returns:
        The integers, ``None`` when they are absent, ``NoMatch`` when they are not constant.
    """
    stated = node.attributes.get(name)
    if stated is not None:
        if stated.kind is AttributeKind.INTS and isinstance(stated.value, tuple):
            return tuple(item for item in stated.value if isinstance(item, int))
        return NoMatch("attribute %r of %s is no list of integers", name, node.op)
    value = node.input_at(position)
    return None if value is None else constant_ints(value)


def normalize_axes(axes: Sequence[int], rank: int | None) -> tuple[int, ...] | NoMatch:
    """Axes counted from the front, in the order given.

    Args:
        axes: each in [-rank, rank).
        rank: of the tensor they count in, ``None`` when it is not known: then no axis may be negative.
    """
    if rank is None:
        if any(axis < 0 for axis in axes):
            return NoMatch("negative axes %s of a tensor whose rank is not known", axes)
        found = tuple(axes)
    else:
        if any(not -rank <= axis < rank for axis in axes):
            return NoMatch("axes %s are not in a tensor of rank %d", axes, rank)
        found = tuple(axis % rank for axis in axes)
    if len(set(found)) != len(found):
        return NoMatch("axes %s repeat", axes)
    return found


def with_first_axis(rw: Rewriter, value: Value) -> Value:
    """A tensor with a new first axis of size 1: Unsqueeze in the spelling of the graph's opset."""
    if (rw.graph.opset() or 1) >= 13:
        return rw.new("Unsqueeze", value, np.array([0], np.int64))
    return rw.new("Unsqueeze", value, axes=[0])
