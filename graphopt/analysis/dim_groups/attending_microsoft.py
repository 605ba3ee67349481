"""The attention operators of ONNX Runtime: heads may go one by one, as in :mod:`graphopt.analysis.dim_groups.attending`.

Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from graphopt.analysis.dim_groups.attending import CONTRACTED, SCORES, cached, per_head, scores
from graphopt.analysis.dim_groups.extents import Extent, product_of, sum_of
from graphopt.analysis.dim_groups.following import AttributeSize, Following, RoleFunction
from graphopt.analysis.dim_groups.matrices import contract
from graphopt.ir import Node

__all__ = ["FUNCTIONS"]


def _multi_head(node: Node, follow: Following) -> None:
    """Separate query, key and value of three axes."""
    q, k, v = (follow.axes(node.input_at(index)) for index in range(3))
    heads = node.int_attr("num_heads")
    if q is None or k is None or v is None or not len(q) == len(k) == len(v) == 3 or len(node.outputs) > 3:
        return
    if any(node.input_at(index) is not None for index in (4, *range(8, len(node.inputs)))):
        return
    sizes = per_head(q[2], heads), per_head(v[2], heads)
    if sizes[0] is None or sizes[1] is None:
        return
    head, inner, outer = follow.extents.leaf(heads), follow.extents.leaf(sizes[0]), follow.extents.leaf(sizes[1])
    follow.freeze(inner, CONTRACTED, node)
    for axes, size in ((q, inner), (k, inner), (v, outer)):
        follow.unify(axes[2], product_of(head, size), node)
    follow.unify(k[1], v[1], node)
    follow.freeze(k[1], SCORES, node)
    bias = follow.axes(node.input_at(3))
    if bias is not None:
        follow.unify(bias[0], sum_of(q[2], k[2], v[2]), node)
    scores(node, follow, follow.axes(node.input_at(5)), head)
    cached(node, follow, 6, 1, (k[0], head, inner))
    cached(node, follow, 7, 2, (v[0], head, outer))
    follow.attributes.append(AttributeSize(node, "num_heads", head))
    follow.give(node.outputs[0], [q[0], q[1], product_of(head, outer)])


def _packed(node: Node, follow: Following) -> None:
    """``Attention``: the projections of query, key and value in one matrix inside, without a cache."""
    x, w = follow.axes(node.input_at(0)), follow.axes(node.input_at(1))
    heads = node.int_attr("num_heads")
    if x is None or w is None or len(x) != 3 or len(w) != 2 or len(node.outputs) > 1:
        return
    if node.input_at(4) is not None or node.input_at(6) is not None:
        return
    stated = node.ints_attr("qkv_hidden_sizes") or ()
    third = per_head(w[1], 3)
    widths = stated or ((third,) * 3 if third is not None else ())
    if len(widths) != 3 or widths[0] != widths[1] or any(width % heads for width in widths):
        return
    head, inner = follow.extents.leaf(heads), follow.extents.leaf(widths[0] // heads)
    outer = follow.extents.leaf(widths[2] // heads) if stated else inner
    follow.freeze(inner, CONTRACTED, node)
    q, v = product_of(head, inner), product_of(head, outer)
    contract(node, follow, ((0, 2), (1, 0)))
    follow.unify(w[1], sum_of(q, q, v), node)
    bias = follow.axes(node.input_at(2))
    if bias is not None:
        follow.unify(bias[0], w[1], node)
    follow.freeze(x[1], SCORES, node)
    follow.freeze_value(node.input_at(3), SCORES, node)
    scores(node, follow, follow.axes(node.input_at(5)), head)
    follow.attributes.append(AttributeSize(node, "num_heads", head))
    follow.attributes += [
        AttributeSize(node, "qkv_hidden_sizes", part, index) for index, part in enumerate((q, q, v)) if stated
    ]
    follow.give(node.outputs[0], [x[0], x[1], v])


def _grouped(node: Node, follow: Following) -> None:
    """``GroupQueryAttention``: several heads of the query share a key; the three apart, or all in the first input."""
    q, k, v = (follow.axes(node.input_at(index)) for index in range(3))
    heads, pairs = node.int_attr("num_heads"), node.int_attr("kv_num_heads")
    if q is None or len(q) != 3 or (k is None) != (v is None) or not pairs or heads % pairs or len(node.outputs) > 3:
        return
    if any(node.input_at(index) is not None for index in range(12, len(node.inputs))):
        return
    size = per_head(q[2], heads if k is not None else heads + 2 * pairs)
    if size is None:
        return
    shared, inner = follow.extents.leaf(pairs), follow.extents.leaf(size)
    all_heads: Extent = product_of(shared, follow.extents.leaf(heads // pairs))
    follow.freeze(inner, CONTRACTED, node)
    wide, narrow = product_of(all_heads, inner), product_of(shared, inner)
    if k is None or v is None:
        follow.unify(q[2], sum_of(wide, narrow, narrow), node)
    else:
        follow.unify_axes([q[2], k[2], v[2]], [wide, narrow, narrow], node)
        follow.unify(k[1], v[1], node)
        follow.freeze(k[1], SCORES, node)
    follow.freeze(q[1], SCORES, node)
    for position in range(5, 10):
        follow.freeze_value(node.input_at(position), SCORES, node)
    scores(node, follow, follow.axes(node.input_at(10)), all_heads)
    sink = follow.axes(node.input_at(11))
    if sink is not None:
        follow.unify(sink[0], all_heads, node)
    cached(node, follow, 3, 1, (q[0], shared, inner))
    cached(node, follow, 4, 2, (q[0], shared, inner))
    follow.attributes += [AttributeSize(node, "num_heads", all_heads), AttributeSize(node, "kv_num_heads", shared)]
    follow.give(node.outputs[0], [q[0], q[1], wide])


FUNCTIONS: dict[str, RoleFunction] = {
    "com.microsoft::Attention": _packed,
    "com.microsoft::GroupQueryAttention": _grouped,
    "com.microsoft::MultiHeadAttention": _multi_head,
}
