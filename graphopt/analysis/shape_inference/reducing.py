"""Reductions over axes, stated as attribute in older opsets and as an input in newer ones."""

from __future__ import annotations

from collections.abc import Sequence

from graphopt.analysis.shape_inference.facts import Facts, ShapeFunction, dtype_at, shape_at, tensor
from graphopt.ir import DType, Node, Shape, Type

__all__ = ["FUNCTIONS", "reduced"]


def reduced(shape: Shape, axes: Sequence[int] | None, *, keep: bool) -> Shape | None:
    """A shape without the sizes of some axes (of all by default), or with 1 in their place."""
    rank = len(shape)
    if axes is None:
        return (1,) * rank if keep else ()
    places = {axis + rank if axis < 0 else axis for axis in axes}
    if not all(0 <= place < rank for place in places):
        return None
    if keep:
        return tuple(1 if axis in places else dim for axis, dim in enumerate(shape))
    return tuple(dim for axis, dim in enumerate(shape) if axis not in places)


def _reduce(node: Node, facts: Facts) -> Sequence[Type | None]:
    dtype, shape = dtype_at(node, 0), shape_at(node, facts, 0)
    if shape is None:
        return (tensor(dtype, None),)
    keepdims = node.attributes.get("keepdims")
    keep = keepdims is None or keepdims.value != 0
    stated, given = node.attributes.get("axes"), node.input_at(1)
    axes: tuple[int, ...] | None = None
    if stated is not None:
        axes = node.ints_attr("axes")
    elif given is not None:
        axes = facts.numbers(given)
        if axes is None:
            return (tensor(dtype, (None,) * len(shape) if keep else None),)
    if not axes:
        noop = node.attributes.get("noop_with_empty_axes")
        if noop is not None and noop.value:
            return (tensor(dtype, shape),)
        axes = None
    return (tensor(dtype, reduced(shape, axes, keep=keep)),)


def _arg_extreme(node: Node, facts: Facts) -> Sequence[Type | None]:
    shape = shape_at(node, facts, 0)
    keep = node.int_attr("keepdims", 1) != 0
    found = None if shape is None else reduced(shape, (node.int_attr("axis", 0),), keep=keep)
    return (tensor(DType.INT64, found),)


_REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
    "ReduceSumSquare",
)  # fmt: skip

FUNCTIONS: dict[str, ShapeFunction] = {
    **dict.fromkeys(_REDUCTIONS, _reduce),
    **dict.fromkeys(("ArgMax", "ArgMin"), _arg_extreme),
}
