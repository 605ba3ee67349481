"""Attention in one operator: heads may go one by one, also all that share a key; what queries and keys are contracted over is frozen.

Caches have the heads of keys and values: where a cache is an input, these are frozen, and heads that share one are not.
"""

from __future__ import annotations

from graphopt.analysis.dim_groups.extents import Extent, product_of
from graphopt.analysis.dim_groups.following import AttributeSize, Axes, Following, RoleFunction
from graphopt.ir import Node

__all__ = ["CONTRACTED", "FUNCTIONS", "SCORES", "cached", "per_head", "scores"]

CONTRACTED = "it is summed without weights"
SCORES = "a softmax is taken over it"


def per_head(whole: Extent, count: int) -> int | None:
    """The size of each of ``count`` equal parts, ``None`` if they are not equal."""
    return whole.size // count if count and isinstance(whole.size, int) and whole.size % count == 0 else None


def scores(node: Node, follow: Following, added: Axes | None, head: Extent) -> None:
    """What is added to scores [batch, heads, length, length]."""
    if added is None:
        return
    if len(added) >= 3 and added[-3].size != 1:
        follow.unify(added[-3], head, node)
    for extent in added[-2:]:
        follow.freeze(extent, SCORES, node)


def cached(node: Node, follow: Following, position: int, output: int, axes: tuple[Extent, Extent, Extent]) -> None:
    """A cache [batch, heads, length, size] that is read, and the longer one that is given; either may be absent.

    Args:
        node: the attention.
        follow: the state.
        position: of the input.
        output: index of the output.
        axes: batch, heads and size.
    """
    batch, heads, size = axes
    past = follow.axes(node.input_at(position))
    if past is not None and len(past) == 4:
        follow.unify_axes([past[0], past[1], past[3]], [batch, heads, size], node)
        follow.freeze(past[2], SCORES, node)
    elif past is not None:
        follow.freeze_node(node, "its cache has another layout")
    if output < len(node.outputs) and node.outputs[output].name:
        shape = node.outputs[output].shape
        length = shape[2] if shape is not None and len(shape) == 4 else None
        follow.give(node.outputs[output], [batch, heads, follow.fixed(length, SCORES, node), size])


def _attention(node: Node, follow: Following) -> None:
    """``Attention`` of opset 23: [batch, heads, length, head] or [batch, length, heads * head]."""
    q, k, v = (follow.axes(node.input_at(index)) for index in range(3))
    if q is None or k is None or v is None or not len(q) == len(k) == len(v) or len(node.outputs) > 3:
        return
    flat = len(q) == 3
    counts = [node.int_attr("q_num_heads", 0), node.int_attr("kv_num_heads", 0)] if flat else [q[1].size, k[1].size]
    if not isinstance(counts[0], int) or not isinstance(counts[1], int) or not counts[1] or counts[0] % counts[1]:
        return
    shared, repeats = follow.extents.leaf(counts[1]), follow.extents.leaf(counts[0] // counts[1])
    heads = product_of(shared, repeats)
    inner, outer = _head_sizes(q, v, counts[0], counts[1], flat)
    if inner is None or outer is None:
        return
    d, e = follow.extents.leaf(inner), follow.extents.leaf(outer)
    follow.freeze(d, CONTRACTED, node)
    for axes, count, size in ((q, heads, d), (k, shared, d), (v, shared, e)):
        if flat:
            follow.unify(axes[2], product_of(count, size), node)
        else:
            follow.unify_axes([axes[1], axes[3]], [count, size], node)
    length = 1 if flat else 2
    follow.unify(k[length], v[length], node)
    follow.freeze(k[length], SCORES, node)
    scores(node, follow, follow.axes(node.input_at(3)), heads)
    cached(node, follow, 4, 1, (k[0], shared, d))
    cached(node, follow, 5, 2, (v[0], shared, e))
    follow.freeze_value(node.input_at(6), "it counts keys", node)
    if flat:
        follow.attributes += [AttributeSize(node, "q_num_heads", heads), AttributeSize(node, "kv_num_heads", shared)]
        follow.give(node.outputs[0], [q[0], q[1], product_of(heads, e)])
    else:
        follow.give(node.outputs[0], [q[0], heads, q[2], e])


def _head_sizes(q: Axes, v: Axes, heads: int, shared: int, flat: bool) -> tuple[int | None, int | None]:
    if flat:
        return per_head(q[2], heads), per_head(v[2], shared)
    sizes = [size if isinstance(size, int) else None for size in (q[3].size, v[3].size)]
    return sizes[0], sizes[1]


def _rotary(node: Node, follow: Following) -> None:
    """Rotary embeddings turn pairs of indices within a head: the head size is frozen, heads are not."""
    x = follow.axes(node.input_at(0))
    if x is None or len(x) not in (3, 4):
        return
    inner: Extent = x[-1]
    heads = node.int_attr("num_heads", 0)
    if len(x) == 3:
        size = per_head(x[2], heads)
        if size is None:
            follow.freeze_node(node, "it is turned in pairs")
            return
        head, inner = follow.extents.leaf(heads), follow.extents.leaf(size)
        follow.unify(x[2], product_of(head, inner), node)
        follow.attributes.append(AttributeSize(node, "num_heads", head))
    elif heads:
        follow.attributes.append(AttributeSize(node, "num_heads", x[1]))
    follow.freeze(inner, "it is turned in pairs", node)
    for value in node.inputs[1:]:
        follow.freeze_value(value, "it is turned in pairs", node)
    follow.give(node.outputs[0], x)


FUNCTIONS: dict[str, RoleFunction] = {
    "Attention": _attention,
    **dict.fromkeys(("RotaryEmbedding", "com.microsoft::RotaryEmbedding"), _rotary),
}
