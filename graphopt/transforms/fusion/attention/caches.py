"""Keys and values of earlier positions, put before the new ones: ``Concat(past, new)`` on the axis of positions."""

from __future__ import annotations

from dataclasses import dataclass

from graphopt.ir import Node, Value
from graphopt.transforms.fusion.attention.layouts import Factor, Layout, trace

__all__ = ["Cache", "find_cache", "find_caches"]


@dataclass(frozen=True, slots=True)
class Cache:
    """What one factor of attention is joined of.

    Attributes:
        past: earlier positions, ``[B, N, P, H]``.
        new: where the new positions come from, ``[B, N, L, H]``.
        present: both, ``[B, N, P + L, H]``.
        concat: the node that joins them.
    """

    past: Value
    new: Factor
    present: Value
    concat: Node

    def fresh(self) -> Value:
        """The new positions as they are joined, ``[B, N, L, H]``."""
        value = self.concat.inputs[1]
        assert value is not None, "that was asked"
        return value


def find_cache(value: Value, root: Node) -> Cache | None:
    """What a factor with heads before positions is joined of, if nobody but ``root`` and graph outputs reads it.

    Other readers might be what a mask of the same attention is computed from; they could not wait for an output of it.

    Args:
        value: keys or values, ``[B, N, L, H]``.
        root: reads it.
    """
    node = value.producer
    if node is None or node.op != "Concat" or node.graph is not root.graph or node.has_references:
        return None
    if value.rank != 4 or value.use_count != 1 or len(node.inputs) != 2 or node.int_attr("axis") not in (2, -2):
        return None
    past, new = node.inputs
    if past is None or new is None or past.rank != 4 or new.rank != 4 or past.dtype is not new.dtype:
        return None
    return Cache(past, trace(new, Layout.BNSH, scales=False), value, node)


def find_caches(key: Value, value: Value, root: Node) -> tuple[Cache, Cache] | None:
    """The caches of keys and of values, of which there are both or none."""
    if key is value:
        return None
    keys, values = find_cache(key, root), find_cache(value, root)
    return None if keys is None or values is None else (keys, values)
