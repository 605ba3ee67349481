"""What gives a tensor another shape: Reshape takes axes apart and joins them, Transpose moves them, Expand and Tile repeat them."""

from __future__ import annotations

from collections.abc import Sequence

from graphopt.analysis.dim_groups.extents import ONE, Extent, product_of
from graphopt.analysis.dim_groups.following import AttributeSize, Axes, Following, RoleFunction, place_of
from graphopt.analysis.dim_groups.sizes import SizeOf
from graphopt.ir import Node, Shape

__all__ = ["FUNCTIONS"]


def _reshape(node: Node, follow: Following) -> None:
    x, shape = follow.axes(node.input_at(0)), node.outputs[0].shape
    if x is None or shape is None:
        return
    found = _reshaped(node, follow, x, shape)
    stated = node.ints_attr("shape") if "shape" in node.attributes else None
    if stated is not None:
        follow.attributes.extend(
            AttributeSize(node, "shape", found[index], index) for index, number in enumerate(stated) if number > 0
        )
    else:
        numbers = follow.numbers(node.input_at(1)) or ()
        zero_copies = not node.int_attr("allowzero", 0)
        free = {
            index
            for index, number in enumerate(numbers)
            if number == -1 or (number == 0 and zero_copies and index < len(x) and x[index] is found[index])
        }
        follow.demand(node, 1, {index: extent for index, extent in enumerate(found) if index not in free})
    follow.give(node.outputs[0], found)


def _reshaped(node: Node, follow: Following, x: Sequence[Extent], shape: Shape) -> Axes:
    """The axes of what a Reshape gives: those at both ends that keep their size are the same, the others are taken apart and joined."""
    start = 0
    while start < min(len(x), len(shape)) and x[start].size == shape[start] and shape[start] is not None:
        start += 1
    stop = 0
    while (
        stop < min(len(x), len(shape)) - start
        and x[-1 - stop].size == shape[-1 - stop]
        and shape[-1 - stop] is not None
    ):
        stop += 1
    middle = [follow.extents.leaf(size) for size in shape[start : len(shape) - stop]]
    follow.extents.match_products(x[start : len(x) - stop], middle, place_of(node))
    return [*x[:start], *middle, *x[len(x) - stop :]]


def _flatten(node: Node, follow: Following) -> None:
    x = follow.axes(node.input_at(0))
    if x is not None:
        axis = node.int_attr("axis", 1)
        axis = axis + len(x) if axis < 0 else axis
        follow.give(node.outputs[0], [product_of(*x[:axis]), product_of(*x[axis:])])


def _transpose(node: Node, follow: Following) -> None:
    x = follow.axes(node.input_at(0))
    if x is not None:
        order = node.ints_attr("perm") or tuple(reversed(range(len(x))))
        follow.give(node.outputs[0], [x[axis] for axis in order])


def _axes_of(node: Node, follow: Following) -> tuple[int, ...] | None:
    return node.ints_attr("axes") if "axes" in node.attributes else follow.numbers(node.input_at(1))


def _squeeze(node: Node, follow: Following) -> None:
    x, axes = follow.axes(node.input_at(0)), _axes_of(node, follow)
    if x is None:
        return
    places = {axis % len(x) for axis in axes} if axes else {axis for axis, extent in enumerate(x) if extent.size == 1}
    elements = follow.sizes.read(node, 0)
    if elements is not None:
        follow.sizes.give(node.outputs[0], elements)
    follow.give(node.outputs[0], [extent for axis, extent in enumerate(x) if axis not in places])


def _unsqueeze(node: Node, follow: Following) -> None:
    x, axes = follow.axes(node.input_at(0)), _axes_of(node, follow)
    if x is None or axes is None:
        return
    rank = len(x) + len(axes)
    places = {axis % rank for axis in axes}
    rest = iter(x)
    elements = follow.sizes.read(node, 0)
    if elements is not None:
        follow.sizes.give(node.outputs[0], elements)
    follow.give(node.outputs[0], [ONE if axis in places else next(rest) for axis in range(rank)])


def _expand(node: Node, follow: Following) -> None:
    x, shape = follow.axes(node.input_at(0)), node.outputs[0].shape
    if x is None or shape is None:
        return
    padded = [ONE] * (len(shape) - len(x)) + x
    found: Axes = []
    for extent, size in zip(padded, shape, strict=True):
        if extent.size == size and size is not None:
            found.append(extent)
        elif extent.size == 1 and isinstance(size, int):
            found.append(follow.extents.leaf(size))  # copies, any of which may go
        else:
            follow.freeze(extent, "it is repeated to a size that is unknown", node)
            found.append(follow.fixed(size, "it is repeated to a size that is unknown", node))
    target = node.input_at(1)
    count = target.shape[0] if target is not None and target.shape else len(shape)
    first = len(shape) - count if isinstance(count, int) else 0  # the target may have fewer axes than the input
    numbers = follow.numbers(target) or (0,) * len(shape)
    follow.demand(node, 1, {index: found[first + index] for index in range(len(shape) - first) if numbers[index] != 1})
    follow.give(node.outputs[0], found)


def _tile(node: Node, follow: Following) -> None:
    x, repeats = follow.axes(node.input_at(0)), follow.numbers(node.input_at(1))
    if x is None or repeats is None or len(repeats) != len(x):
        return
    found = [
        extent if count == 1 else product_of(follow.fixed(count, "it counts copies", node), extent)
        for extent, count in zip(x, repeats, strict=True)
    ]
    follow.give(node.outputs[0], found)


def _shape(node: Node, follow: Following) -> None:
    x = follow.axes(node.input_at(0))
    if x is None:
        return
    start, end = node.int_attr("start", 0), node.attr("end")
    kept = x[start : end if isinstance(end, int) else None]
    follow.sizes.give(node.outputs[0], [SizeOf(extent) for extent in kept])
    follow.give(node.outputs[0], [follow.fixed(len(kept), "it is a shape", node)])


def _constant_of_shape(node: Node, follow: Following) -> None:
    shape = node.outputs[0].shape
    if shape is None:
        return
    found: Axes = [
        follow.extents.leaf(size) if isinstance(size, int) else follow.fixed(size, "its size is dynamic", node)
        for size in shape
    ]
    follow.demand(node, 0, dict(enumerate(found)))
    follow.give(node.outputs[0], found)


FUNCTIONS: dict[str, RoleFunction] = {
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Shape": _shape,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
