"""Convolutions, pooling and resizing: channels are followed, what windows slide over is frozen."""

from __future__ import annotations

from graphopt.analysis.dim_groups.extents import ONE, Extent, product_of
from graphopt.analysis.dim_groups.following import AttributeSize, Axes, Following, RoleFunction
from graphopt.ir import Node

__all__ = ["FUNCTIONS", "convolve"]

_WINDOW = "a window slides over it"


def _spatial(node: Node, follow: Following, x: Axes, first: int = 2) -> Axes:
    """Axes behind the channels of what a window gives."""
    for extent in x[first:]:
        follow.freeze(extent, _WINDOW, node)
    shape = node.outputs[0].shape
    sizes = [None] * (len(x) - first) if shape is None or len(shape) != len(x) else shape[first:]
    return [follow.fixed(size, _WINDOW, node) for size in sizes]


def _grouped(node: Node, follow: Following, groups: int, channels: Extent, inner: Extent) -> Extent | None:
    """The groups of channels, the number of which is an attribute."""
    if groups == 1:
        follow.unify(channels, inner, node)
        return ONE
    if not isinstance(inner.size, int) or channels.size != groups * inner.size:
        return None
    group = follow.extents.leaf(groups)
    follow.unify(channels, product_of(group, inner), node)
    follow.attributes.append(AttributeSize(node, "group", group))
    return group


def convolve(node: Node, follow: Following, positions: tuple[int, int, int] = (0, 1, 2)) -> Axes | None:
    """What a convolution gives, ``None`` if its ranks are unknown.

    Args:
        node: the convolution.
        follow: the state.
        positions: of data, weights and bias among the inputs.
    """
    x, w, b = (follow.axes(node.input_at(index)) for index in positions)
    if x is None or w is None or len(x) < 3 or len(w) != len(x):
        return None
    groups = node.int_attr("group", 1)
    outputs = w[0].size
    group = _grouped(node, follow, groups, x[1], w[1])
    if group is None or not isinstance(outputs, int) or outputs % groups:
        return None
    if groups > 1:
        follow.unify(w[0], product_of(group, follow.extents.leaf(outputs // groups)), node)
    for extent in w[2:]:
        follow.freeze(extent, _WINDOW, node)
    if b is not None:
        follow.unify(b[0], w[0], node)
    weight = node.input_at(positions[1])
    if follow.is_weight(weight):
        follow.role(weight, 0, "out", node)
        follow.role(weight, 1, "in", node)
    else:
        follow.freeze(w[1], "it is summed without weights", node)
    return [x[0], w[0], *_spatial(node, follow, x)]


def _conv(node: Node, follow: Following) -> None:
    found = convolve(node, follow)
    added = follow.axes(node.input_at(3))
    if found is not None and added is not None:  # com.microsoft::FusedConv adds a tensor before the activation
        found = follow.broadcast([found, added], node)
    if found is not None:
        follow.give(node.outputs[0], found)


def _conv_transpose(node: Node, follow: Following) -> None:
    x, w, b = (follow.axes(node.input_at(index)) for index in range(3))
    if x is None or w is None or len(x) < 3 or len(w) != len(x):
        return
    groups = node.int_attr("group", 1)
    inputs = w[0].size
    if not isinstance(inputs, int) or inputs % groups:
        return
    follow.unify(x[1], w[0], node)
    inner = w[0] if groups == 1 else follow.extents.leaf(inputs // groups)
    group = ONE if groups == 1 else _grouped(node, follow, groups, w[0], inner)
    if group is None:
        return
    channels = product_of(group, w[1])
    for extent in w[2:]:
        follow.freeze(extent, _WINDOW, node)
    if b is not None:
        follow.unify(b[0], channels, node)
    if follow.is_weight(node.input_at(1)):
        follow.role(node.input_at(1), 0, "in", node, inner)
        follow.role(node.input_at(1), 0, "out", node, group)
        follow.role(node.input_at(1), 1, "out", node)
    else:
        follow.freeze(inner, "it is summed without weights", node)
    follow.give(node.outputs[0], [x[0], channels, *_spatial(node, follow, x)])


def _pool(node: Node, follow: Following) -> None:
    x = follow.axes(node.input_at(0))
    if x is None or len(x) < 3:
        return
    spatial = _spatial(node, follow, x)
    for index, output in enumerate(node.outputs):
        if index == 0:
            follow.give(output, [*x[:2], *spatial])
        elif output.name and output.is_used:  # indices into the whole tensor
            follow.freeze_node(node, "places in the whole tensor are given out")


def _global_pool(node: Node, follow: Following) -> None:
    x = follow.axes(node.input_at(0))
    if x is not None and len(x) >= 3:
        for extent in x[2:]:
            follow.freeze(extent, "it is reduced", node)
        follow.give(node.outputs[0], [*x[:2], *[ONE] * (len(x) - 2)])


def _resize(node: Node, follow: Following) -> None:
    x, shape = follow.axes(node.input_at(0)), node.outputs[0].shape
    if x is None or shape is None or len(shape) != len(x):
        return
    axes = node.ints_attr("axes") if "axes" in node.attributes else tuple(range(len(x)))
    resized = {axis % len(x) for axis in axes or ()}
    found: Axes = []
    for place, (extent, size) in enumerate(zip(x, shape, strict=True)):
        same = place not in resized or (size is not None and size == extent.size)
        if not same or place >= 2:
            follow.freeze(extent, "it is resized", node)
        found.append(extent if same else follow.fixed(size, "it is resized", node))
    if node.op == "Resize" and node.input_at(3) is not None:
        follow.demand(node, 3, {index: found[axis % len(x)] for index, axis in enumerate(axes or ())})
    follow.give(node.outputs[0], found)


def _depth_to_space(node: Node, follow: Following) -> None:
    x, shape = follow.axes(node.input_at(0)), node.outputs[0].shape
    block = node.int_attr("blocksize")
    if x is None or len(x) != 4 or shape is None or not isinstance(x[1].size, int) or x[1].size % (block * block):
        return
    channels = follow.extents.leaf(x[1].size // (block * block))
    blocks = follow.fixed(block * block, "a block of space is made of it", node)
    first = node.str_attr("mode", "DCR") == "DCR"
    follow.unify(x[1], product_of(blocks, channels) if first else product_of(channels, blocks), node)
    follow.give(node.outputs[0], [x[0], channels, *_spatial(node, follow, x)])


def _space_to_depth(node: Node, follow: Following) -> None:
    x = follow.axes(node.input_at(0))
    block = node.int_attr("blocksize")
    if x is None or len(x) != 4:
        return
    blocks = follow.fixed(block * block, "a block of space is in it", node)
    follow.give(node.outputs[0], [x[0], product_of(blocks, x[1]), *_spatial(node, follow, x)])


FUNCTIONS: dict[str, RoleFunction] = {
    **dict.fromkeys(("Conv", "com.microsoft::FusedConv", "graphopt::ConvActivation"), _conv),
    "ConvTranspose": _conv_transpose,
    **dict.fromkeys(("AveragePool", "LpPool", "MaxPool"), _pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"), _global_pool),
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
}
