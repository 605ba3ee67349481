"""Operators that gather and join: Gather and its kin, Concat, OneHot, TopK, and those whose output counts what they found."""

from __future__ import annotations

from collections.abc import Sequence

from graphopt.analysis.shape_inference.facts import Facts, ShapeFunction, dtype_at, shape_at, tensor
from graphopt.ir import (
    Dim,
    DType,
    Node,
    Shape,
    SymbolicDim,
    TensorType,
    Type,
    dim_max,
    dim_product,
    fresh_dim,
    lower_bound,
)

__all__ = ["FUNCTIONS", "concatenated"]


def _gather(node: Node, facts: Facts) -> Sequence[Type | None]:
    data, indices = shape_at(node, facts, 0), shape_at(node, facts, 1)
    dtype, axis = dtype_at(node, 0), node.int_attr("axis", 0)
    if data is None or indices is None or not -len(data) <= axis < len(data):
        return (tensor(dtype, None),)
    axis = axis + len(data) if axis < 0 else axis
    if isinstance(data[axis], SymbolicDim) and all((lower_bound(dim) or 0) > 0 for dim in indices):
        facts.note_positive(node, data[axis])  # there is nothing to gather from an empty axis
    return (tensor(dtype, data[:axis] + indices + data[axis + 1 :]),)


def _gather_elements(node: Node, facts: Facts) -> Sequence[Type | None]:
    return (tensor(dtype_at(node, 0), shape_at(node, facts, 1)),)


def _gather_nd(node: Node, facts: Facts) -> Sequence[Type | None]:
    data, indices = shape_at(node, facts, 0), shape_at(node, facts, 1)
    dtype, batch = dtype_at(node, 0), node.attributes.get("batch_dims")
    first = batch.value if batch is not None and isinstance(batch.value, int) else 0
    if data is None or not indices or not isinstance(indices[-1], int) or indices[-1] + first > len(data):
        return (tensor(dtype, None),)
    return (tensor(dtype, indices[:-1] + data[first + indices[-1] :]),)


def concatenated(shapes: Sequence[Shape | None], axis: int) -> Shape | None:
    """The shape of tensors joined along an axis."""
    known = [shape for shape in shapes if shape is not None]
    if len(known) != len(shapes) or not known or len({len(shape) for shape in known}) != 1:
        return None
    rank = len(known[0])
    if not -rank <= axis < rank:
        return None
    axis = axis + rank if axis < 0 else axis
    found: list[Dim] = []
    for place, sizes in enumerate(zip(*known, strict=True)):
        if place == axis:
            total: Dim = 0
            for size in sizes:
                total = None if total is None or size is None else total + size
            found.append(total)
        elif sizes.count(sizes[0]) == len(sizes):
            found.append(sizes[0])
        else:
            found.append(_agreed(place, known))
    return tuple(found)


def _agreed(place: int, shapes: Sequence[Shape]) -> Dim:
    """The size of an axis that all must share. ONNX Runtime lets an empty tensor differ, so one that surely is not empty says it."""
    for shape in shapes:
        if isinstance(shape[place], int) and all((lower_bound(dim) or 0) > 0 for dim in shape):
            return shape[place]
    return None


def _concat(node: Node, facts: Facts) -> Sequence[Type | None]:
    axis = node.int_attr("axis", 1)
    dtype = next((found for index in range(len(node.inputs)) if (found := dtype_at(node, index)) is not None), None)
    return (tensor(dtype, concatenated([facts.shape(value) for value in node.inputs], axis)),)


def _one_hot(node: Node, facts: Facts) -> Sequence[Type | None]:
    indices, dtype = shape_at(node, facts, 0), dtype_at(node, 2)
    if indices is None:
        return (tensor(dtype, None),)
    axis, rank = node.int_attr("axis", -1), len(indices) + 1
    if not -rank <= axis < rank:
        return (tensor(dtype, (None,) * rank),)
    axis = axis + rank if axis < 0 else axis
    depth = facts.integers(node.input_at(1))
    size = depth.elements[0] if depth is not None and len(depth.elements) == 1 else None
    return (tensor(dtype, (*indices[:axis], size, *indices[axis:])),)


def _top_k(node: Node, facts: Facts) -> Sequence[Type | None]:
    shape, axis = shape_at(node, facts, 0), node.int_attr("axis", -1)
    found: Shape | None = None
    if shape is not None and -len(shape) <= axis < len(shape):
        axis = axis + len(shape) if axis < 0 else axis
        stated = node.attributes.get("k")
        if stated is not None and isinstance(stated.value, int):
            size: Dim = stated.value
        else:
            given = facts.integers(node.input_at(1))
            size = given.elements[0] if given is not None and len(given.elements) == 1 else fresh_dim()
        found = (*shape[:axis], size, *shape[axis + 1 :])
    return [tensor(dtype, found) for dtype in (dtype_at(node, 0), DType.INT64)][: len(node.outputs)]


def _nonzero(node: Node, facts: Facts) -> Sequence[Type | None]:
    shape = shape_at(node, facts, 0)
    return (TensorType(DType.INT64, (len(shape) if shape else None, None)),)


def _compress(node: Node, facts: Facts) -> Sequence[Type | None]:
    shape, stated = shape_at(node, facts, 0), node.attributes.get("axis")
    dtype = dtype_at(node, 0)
    if stated is None or not isinstance(stated.value, int):
        return (tensor(dtype, (None,)),)
    axis = stated.value
    if shape is None or not -len(shape) <= axis < len(shape):
        return (tensor(dtype, None if shape is None else (None,) * len(shape)),)
    axis = axis + len(shape) if axis < 0 else axis
    return (tensor(dtype, (*shape[:axis], None, *shape[axis + 1 :])),)


def _unique(node: Node, facts: Facts) -> Sequence[Type | None]:
    shape, stated = shape_at(node, facts, 0), node.attributes.get("axis")
    found = fresh_dim()
    first: Shape | None = (found,)
    size: Dim = None if shape is None else dim_product(shape)
    if stated is not None and isinstance(stated.value, int):
        axis, first, size = stated.value, None, None
        if shape is not None and -len(shape) <= axis < len(shape):
            axis = axis + len(shape) if axis < 0 else axis
            first, size = (*shape[:axis], found, *shape[axis + 1 :]), shape[axis]
    counts = TensorType(DType.INT64, (found,))
    return (tensor(dtype_at(node, 0), first), counts, TensorType(DType.INT64, (size,)), counts)[: len(node.outputs)]


def _shape(node: Node, facts: Facts) -> Sequence[Type | None]:
    shape = shape_at(node, facts, 0)
    if shape is None:
        return (TensorType(DType.INT64, (None,)),)
    if not node.attributes:
        return (TensorType(DType.INT64, (len(shape),)),)
    found = facts.integers(node.output)
    return (TensorType(DType.INT64, (None,) if found is None else found.shape),)


def _size(_node: Node, _facts: Facts) -> Sequence[Type | None]:
    return (TensorType(DType.INT64, ()),)


def _range(node: Node, facts: Facts) -> Sequence[Type | None]:
    dtype = dtype_at(node, 0)
    known = [facts.integers(value) for value in node.inputs] if dtype is not None and dtype.is_integer else []
    start, limit, delta = [
        item.elements[0] if item is not None and len(item.elements) == 1 else None for item in known
    ] or (None, None, None)
    if start is None or limit is None or not isinstance(delta, int) or delta == 0:
        return (tensor(dtype, (None,)),)
    count = counted(limit - start, delta)
    span = limit - start if abs(delta) == 1 and facts.is_nonnegative((limit - start) * delta) else None
    return (tensor(dtype, (count if span is None else span * delta,)),)


def counted(span: int | SymbolicDim, step: int) -> Dim:
    """How many numbers a range over a span has."""
    steps = (span + (step - 1)) // step if step > 0 else (-span + (-step - 1)) // -step
    return dim_max(steps, 0)


def _non_max_suppression(_node: Node, _facts: Facts) -> Sequence[Type | None]:
    return (TensorType(DType.INT64, (None, 3)),)


FUNCTIONS: dict[str, ShapeFunction] = {
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Concat": _concat,
    "OneHot": _one_hot,
    "TopK": _top_k,
    "NonZero": _nonzero,
    "Compress": _compress,
    "Unique": _unique,
    "Shape": _shape,
    "Size": _size,
    "Range": _range,
    "NonMaxSuppression": _non_max_suppression,
}
