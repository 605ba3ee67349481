"""Attention: the standard operator, and ONNX Runtime's, with their caches of keys and values."""

from __future__ import annotations

from collections.abc import Sequence

from graphopt.analysis.shape_inference.facts import Facts, ShapeFunction, dtype_at, same_as_first, shape_at, tensor
from graphopt.ir import Dim, Node, Shape, Type, dim_product, dim_quotient

__all__ = ["FUNCTIONS"]


def _int(node: Node, name: str) -> int | None:
    found = node.attributes.get(name)
    return found.value if found is not None and isinstance(found.value, int) and found.value > 0 else None


def _divided(dim: Dim, by: int | None) -> Dim:
    return None if dim is None or by is None else dim_quotient(dim, by)


def _sum(a: Dim, b: Dim) -> Dim:
    return None if a is None or b is None else a + b


def _outputs(node: Node, *found: Type | None) -> Sequence[Type | None]:
    count = len(node.outputs)
    return (*found, *((None,) * count))[:count]


def _attention(node: Node, facts: Facts) -> Sequence[Type | None]:
    """``Attention`` of the default domain: heads on an axis of their own, or within the last one."""
    q, k, v = (shape_at(node, facts, index) for index in range(3))
    dtype = dtype_at(node, 0)
    if q is None or k is None or v is None or not len(q) == len(k) == len(v):
        return _outputs(node, tensor(dtype, q and (None,) * len(q)))
    past_k, past_v = shape_at(node, facts, 4), shape_at(node, facts, 5)
    if len(q) == 4:
        out: Shape = (q[0], q[1], q[2], v[3])
        heads, size_k, size_v, length = k[1], k[3], v[3], k[2]
    elif len(q) == 3:
        q_heads, heads = _int(node, "q_num_heads"), _int(node, "kv_num_heads")
        size_k, size_v, length = _divided(k[2], heads), _divided(v[2], heads), k[1]
        out = (q[0], q[1], dim_product((q_heads, size_v)))
    else:
        return _outputs(node, tensor(dtype, None))
    if node.input_at(4) is not None or node.input_at(5) is not None:
        length = _sum(past_k[2], length) if past_k is not None and past_v is not None and len(past_k) == 4 else None
    present_k = tensor(dtype_at(node, 1), (k[0], heads, length, size_k))
    present_v = tensor(dtype_at(node, 2), (v[0], heads, length, size_v))
    return _outputs(node, tensor(dtype, out), present_k, present_v)


def _packed_attention(node: Node, facts: Facts) -> Sequence[Type | None]:
    """``com.microsoft::Attention``: one input, projections of queries, keys and values in one weight."""
    x, weight, bias = (shape_at(node, facts, index) for index in range(3))
    dtype, heads = dtype_at(node, 0), _int(node, "num_heads")
    if x is None or len(x) != 3:
        return _outputs(node, tensor(dtype, None))
    stated = node.ints_attr("qkv_hidden_sizes")
    together = weight[1] if weight is not None and len(weight) == 2 else bias[0] if bias else None
    width: Dim = stated[2] if stated is not None and len(stated) == 3 else _divided(together, 3)
    present = None
    if len(node.outputs) > 1:
        length: Dim = x[1]
        if node.input_at(4) is not None:
            past = shape_at(node, facts, 4)
            shared = node.attributes.get("past_present_share_buffer")
            known = past is not None and len(past) == 5 and not (shared is not None and shared.value)
            length = _sum(past[3], x[1]) if past is not None and known else None
        present = tensor(dtype, (2, x[0], heads, length, _divided(width, heads) if stated is None else None))
    return _outputs(node, tensor(dtype, (x[0], x[1], width)), present)


def _multi_head(node: Node, facts: Facts) -> Sequence[Type | None]:
    """``com.microsoft::MultiHeadAttention``: separate, or packed, queries, keys and values."""
    q, k, v = (shape_at(node, facts, index) for index in range(3))
    dtype = dtype_at(node, 0)
    if q is None or len(q) not in (3, 5):
        return _outputs(node, tensor(dtype, None))
    width: Dim = None
    if len(q) == 5:  # queries, keys and values: [batch, length, heads, 3, size]
        width = dim_product((q[2], q[4]))
    elif v is not None and node.input_at(2) is not None:
        width = v[2] if len(v) == 3 else dim_product((v[1], v[3])) if len(v) == 4 else None
    elif k is not None and len(k) == 5:  # keys and values: [batch, length, heads, 2, size]
        width = dim_product((k[2], k[4]))
    return _outputs(node, tensor(dtype, (q[0], q[1], width)), *_presents(node, facts))


def _presents(node: Node, facts: Facts) -> Sequence[Type | None]:
    """Keys and values of all positions, which ``com.microsoft::MultiHeadAttention`` gives beside the result."""
    if len(node.outputs) < 2:
        return ()
    heads, found = _int(node, "num_heads"), []
    shared = node.input_at(8) is not None  # the caches have room for more positions, and keep it
    for place in (1, 2):
        new, past = shape_at(node, facts, place), shape_at(node, facts, place + 5)
        size = past[3] if past is not None and len(past) == 4 else None
        length: Dim = None
        if new is not None and len(new) == 3 and not shared:
            size = _divided(new[2], heads) if size is None else size
            length = (
                new[1]
                if node.input_at(place + 5) is None
                else _sum(past[2], new[1])
                if past and len(past) == 4
                else None
            )
        found.append(tensor(dtype_at(node, 0), (None if new is None else new[0], heads, length, size)))
    return found


def _group_query(node: Node, facts: Facts) -> Sequence[Type | None]:
    """``com.microsoft::GroupQueryAttention``; how long its caches become is the runtime's choice."""
    q, dtype = shape_at(node, facts, 0), dtype_at(node, 0)
    heads, kv_heads = _int(node, "num_heads"), _int(node, "kv_num_heads")
    if q is None or len(q) != 3 or heads is None or kv_heads is None:
        return _outputs(node, tensor(dtype, None))
    packed = node.input_at(1) is None
    size = _divided(q[2], heads + 2 * kv_heads if packed else heads)
    width = dim_product((heads, size)) if packed else q[2]
    present = tensor(dtype_at(node, 3) or dtype, (q[0], kv_heads, None, size))
    return _outputs(node, tensor(dtype, (q[0], q[1], width)), present, present)


FUNCTIONS: dict[str, ShapeFunction] = {
    "Attention": _attention,
    "com.microsoft::Attention": _packed_attention,
    "com.microsoft::MultiHeadAttention": _multi_head,
    "com.microsoft::GroupQueryAttention": _group_query,
    "com.microsoft::RotaryEmbedding": same_as_first,
}
