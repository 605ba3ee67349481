"""Normalizations: an axis over which mean and variance are taken is frozen, each other one is followed."""

from __future__ import annotations

from graphopt.analysis.dim_groups.extents import ONE, Extent, product_of
from graphopt.analysis.dim_groups.following import AttributeSize, Axes, Following, RoleFunction
from graphopt.ir import Node

__all__ = ["FUNCTIONS"]

_TOGETHER = "its indices are normalized together"


def _batch_norm(node: Node, follow: Following) -> None:
    x = follow.axes(node.input_at(0))
    if x is None or len(x) < 2 or node.int_attr("training_mode", 0) or len(node.outputs) > 1:
        return
    for index in range(1, 5):
        axes = follow.axes(node.input_at(index))
        if axes is None or len(axes) != 1:
            return
        follow.unify(axes[0], x[1], node)
    follow.role(node.input_at(1), 0, "scale", node)
    follow.give(node.outputs[0], x)


def _layer_norm(node: Node, follow: Following) -> None:
    x = follow.axes(node.input_at(0))
    if x is None:
        return
    axis = node.int_attr("axis", -1) % len(x)
    for extent in x[axis:]:
        follow.freeze(extent, _TOGETHER, node)
    operands = [follow.axes(value) for value in node.inputs[1:]]
    follow.give(node.outputs[0], follow.broadcast([x, *(axes for axes in operands if axes is not None)], node))
    for output in node.outputs[1:]:
        follow.give(output, [*x[:axis], *[ONE] * (len(x) - axis)])


def _skip_layer_norm(node: Node, follow: Following) -> None:
    x = follow.axes(node.input_at(0))
    if x is None:
        return
    follow.freeze(x[-1], _TOGETHER, node)
    operands = [follow.axes(value) for value in node.inputs]
    found = follow.broadcast([axes for axes in operands if axes is not None], node)
    for index, output in enumerate(node.outputs):
        follow.give(output, found if index in (0, 3) else [*found[:-1], ONE])


def _instance_norm(node: Node, follow: Following) -> None:
    x = follow.axes(node.input_at(0))
    if x is None or len(x) < 3:
        return
    _spatial(node, follow, x)
    for index in (1, 2):
        axes = follow.axes(node.input_at(index))
        if axes is not None:
            follow.unify(axes[0], x[1], node)
    follow.role(node.input_at(1), 0, "scale", node)
    follow.give(node.outputs[0], x)


def _spatial(node: Node, follow: Following, x: Axes) -> None:
    for extent in x[2:]:
        follow.freeze(extent, _TOGETHER, node)


def _group_norm(node: Node, follow: Following) -> None:
    x, scale, bias = (follow.axes(node.input_at(index)) for index in range(3))
    count = node.int_attr("num_groups")
    if x is None or len(x) < 3 or scale is None or bias is None or not isinstance(x[1].size, int) or x[1].size % count:
        return
    groups = follow.extents.leaf(count)
    inner: Extent = follow.fixed(x[1].size // count, _TOGETHER, node)
    follow.unify(x[1], product_of(groups, inner), node)
    follow.attributes.append(AttributeSize(node, "num_groups", groups))
    _spatial(node, follow, x)
    for axes in (scale, bias):
        follow.unify(axes[0], groups if axes[0].size == count and count != x[1].size else x[1], node)
    follow.role(node.input_at(1), 0, "scale", node)
    follow.give(node.outputs[0], x)


def _mean_variance(node: Node, follow: Following) -> None:
    x = follow.axes(node.input_at(0))
    if x is None:
        return
    for axis in node.ints_attr("axes") or (0, 2, 3):
        follow.freeze(x[axis % len(x)], _TOGETHER, node)
    follow.give(node.outputs[0], x)


def _local_response(node: Node, follow: Following) -> None:
    x = follow.axes(node.input_at(0))
    if x is not None and len(x) > 1:
        follow.freeze(x[1], "neighbours are normalized together", node)
        follow.give(node.outputs[0], x)


_LAYER_NORMS = (
    "LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization", "com.microsoft::SimplifiedLayerNormalization",
    "com.microsoft::LayerNormalization",
)  # fmt: skip

FUNCTIONS: dict[str, RoleFunction] = {
    "BatchNormalization": _batch_norm,
    **dict.fromkeys(_LAYER_NORMS, _layer_norm),
    **dict.fromkeys(
        ("com.microsoft::SkipLayerNormalization", "com.microsoft::SkipSimplifiedLayerNormalization"), _skip_layer_norm
    ),
    "InstanceNormalization": _instance_norm,
    "GroupNormalization": _group_norm,
    "MeanVarianceNormalization": _mean_variance,
    "LRN": _local_response,
}
