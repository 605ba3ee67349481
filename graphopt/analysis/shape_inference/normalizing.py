"""Normalizations with outputs for statistics, and losses."""

from __future__ import annotations

from collections.abc import Sequence

from graphopt.analysis.shape_inference.facts import Facts, ShapeFunction, dtype_at, same_as_first, shape_at, tensor
from graphopt.ir import DType, Node, Shape, Type

__all__ = ["FUNCTIONS"]


def _batch_norm(node: Node, facts: Facts) -> Sequence[Type | None]:
    first = same_as_first(node, facts)[0]
    if len(node.outputs) == 1:
        return (first,)
    rest = [tensor(dtype_at(node, index), shape_at(node, facts, index)) for index in (3, 4, 3, 4)]
    return [first, *rest][: len(node.outputs)]


def _layer_norm(node: Node, facts: Facts) -> Sequence[Type | None]:
    """The mean and the inverse of the deviation have 1 where it normalizes."""
    first = same_as_first(node, facts)[0]
    if len(node.outputs) == 1:
        return (first,)
    shape = shape_at(node, facts, 0)
    statistic: Shape | None = None
    if shape is not None:
        axis = node.int_attr("axis", -1)
        axis = axis + len(shape) if axis < 0 else axis
        statistic = tuple(dim if place < axis else 1 for place, dim in enumerate(shape))
    stash = node.attributes.get("stash_type")
    dtype = DType(stash.value) if stash is not None and isinstance(stash.value, int) else DType.FLOAT
    return [first, *([tensor(dtype, statistic)] * (len(node.outputs) - 1))]


def _skip_layer_norm(node: Node, facts: Facts) -> Sequence[Type | None]:
    """Output, mean, inverse deviation, and the sum of input and skip; what is given out of the statistics is left unknown."""
    first = same_as_first(node, facts)[0]
    return [first, None, None, first][: len(node.outputs)]


def _embed_layer_norm(node: Node, facts: Facts) -> Sequence[Type | None]:
    ids, words = shape_at(node, facts, 0), shape_at(node, facts, 2)
    dtype = dtype_at(node, 2)
    if ids is None or len(ids) != 2 or words is None or len(words) != 2:
        return [tensor(dtype, None), None, None][: len(node.outputs)]
    out = tensor(dtype, (*ids, words[1]))
    return [out, None, out][: len(node.outputs)]


FUNCTIONS: dict[str, ShapeFunction] = {
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "SimplifiedLayerNormalization": _layer_norm,
    "com.microsoft::SkipLayerNormalization": _skip_layer_norm,
    "com.microsoft::SkipSimplifiedLayerNormalization": _skip_layer_norm,
    "com.microsoft::EmbedLayerNormalization": _embed_layer_norm,
}
