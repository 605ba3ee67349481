"""Attention in one operator: heads may go one by one, also all that share a key; what queries and keys are contracted over is frozen."""

from __future__ import annotations

from graphopt.analysis.dim_groups.extents import Extent, product_of, sum_of
from graphopt.analysis.dim_groups.following import AttributeSize, Axes, Following, RoleFunction
from graphopt.ir import Node

__all__ = ["FUNCTIONS"]

_CONTRACTED = "it is summed without weights"
_SCORES = "a softmax is taken over it"


def _per(whole: Extent, count: int) -> int | None:
    return whole.size // count if count and isinstance(whole.size, int) and whole.size % count == 0 else None


def _multi_head(node: Node, follow: Following) -> None:
    """``com.microsoft::MultiHeadAttention`` with separate query, key and value, without a cache."""
    q, k, v = (follow.axes(node.input_at(index)) for index in range(3))
    heads = node.int_attr("num_heads")
    if q is None or k is None or v is None or not len(q) == len(k) == len(v) == 3 or len(node.outputs) > 1:
        return
    if any(node.input_at(index) is not None for index in (4, *range(6, len(node.inputs)))):
        return
    sizes = _per(q[2], heads), _per(v[2], heads)
    if sizes[0] is None or sizes[1] is None:
        return
    head, inner, outer = follow.extents.leaf(heads), follow.extents.leaf(sizes[0]), follow.extents.leaf(sizes[1])
    follow.freeze(inner, _CONTRACTED, node)
    for axes, size in ((q, inner), (k, inner), (v, outer)):
        follow.unify(axes[2], product_of(head, size), node)
    follow.unify(k[1], v[1], node)
    follow.freeze(k[1], _SCORES, node)
    bias = follow.axes(node.input_at(3))
    if bias is not None:
        follow.unify(bias[0], sum_of(q[2], k[2], v[2]), node)
    _scores(node, follow, node.input_at(5) is not None and follow.axes(node.input_at(5)), head)
    follow.attributes.append(AttributeSize(node, "num_heads", head))
    follow.give(node.outputs[0], [q[0], q[1], product_of(head, outer)])


def _scores(node: Node, follow: Following, added: Axes | bool | None, head: Extent) -> None:
    """What is added to scores [batch, heads, length, length]."""
    if not isinstance(added, list):
        return
    if len(added) >= 3 and added[-3].size != 1:
        follow.unify(added[-3], head, node)
    for extent in added[-2:]:
        follow.freeze(extent, _SCORES, node)


def _attention(node: Node, follow: Following) -> None:
    """``Attention`` of opset 23, without a cache: [batch, heads, length, head] or [batch, length, heads * head]."""
    q, k, v = (follow.axes(node.input_at(index)) for index in range(3))
    if q is None or k is None or v is None or not len(q) == len(k) == len(v) or len(node.outputs) > 1:
        return
    if any(node.input_at(index) is not None for index in range(4, len(node.inputs))):
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
    follow.freeze(d, _CONTRACTED, node)
    for axes, count, size in ((q, heads, d), (k, shared, d), (v, shared, e)):
        if flat:
            follow.unify(axes[2], product_of(count, size), node)
        else:
            follow.unify_axes([axes[1], axes[3]], [count, size], node)
    length = 1 if flat else 2
    follow.unify(k[length], v[length], node)
    follow.freeze(k[length], _SCORES, node)
    _scores(node, follow, follow.axes(node.input_at(3)), heads)
    if flat:
        follow.attributes += [AttributeSize(node, "q_num_heads", heads), AttributeSize(node, "kv_num_heads", shared)]
        follow.give(node.outputs[0], [q[0], q[1], product_of(heads, e)])
    else:
        follow.give(node.outputs[0], [q[0], heads, q[2], e])


def _head_sizes(q: Axes, v: Axes, heads: int, shared: int, flat: bool) -> tuple[int | None, int | None]:
    if flat:
        return _per(q[2], heads), _per(v[2], shared)
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
        size = _per(x[2], heads)
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
    "com.microsoft::MultiHeadAttention": _multi_head,
    **dict.fromkeys(("RotaryEmbedding", "com.microsoft::RotaryEmbedding"), _rotary),
}
