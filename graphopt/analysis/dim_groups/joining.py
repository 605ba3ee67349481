"""Concat, Split, Slice, Pad and Gather: axes are sums of parts, and a part is followed like an axis."""

from __future__ import annotations

from collections.abc import Sequence

from graphopt.analysis.dim_groups.extents import Extent, Sum, product_of, sum_of
from graphopt.analysis.dim_groups.following import (
    AttributeSize,
    Axes,
    Following,
    RepeatedIndices,
    RoleFunction,
    SplitSizes,
)
from graphopt.analysis.dim_groups.sizes import MOST, Element
from graphopt.ir import Dim, Node, Value

__all__ = ["FUNCTIONS", "join"]

_PICKED = "indices are picked from it"


def _concat(node: Node, follow: Following) -> None:
    _join_elements(node, follow)
    join(node, follow, node.inputs)


def join(node: Node, follow: Following, parts: Sequence[Value | None]) -> None:
    """A node joins tensors along its attribute ``axis``."""
    operands = [follow.axes(value) for value in parts]
    known = [axes for axes in operands if axes is not None]
    if len(known) < len(operands) or not known or not known[0]:
        return
    axis = node.int_attr("axis") % len(known[0])
    found = list(known[0])
    for axes in known[1:]:
        for place, extent in enumerate(axes):
            if place != axis:
                follow.unify(found[place], extent, node)
    found[axis] = sum_of(*(axes[axis] for axes in known))
    follow.give(node.outputs[0], found)


def _join_elements(node: Node, follow: Following) -> None:
    """Elements of a shape that is put together."""
    if node.outputs[0].rank != 1:
        return
    joined: list[Element] = []
    for index, value in enumerate(node.inputs):
        elements = follow.sizes.read(node, index)
        if elements is None:
            size = None if value is None or not value.shape else value.shape[0]
            if not isinstance(size, int) or size > MOST:
                for position in range(len(node.inputs)):
                    follow.sizes.escape(node, position)
                return
            elements = (None,) * size
        joined.extend(elements)
    follow.sizes.give(node.outputs[0], joined)


def _split(node: Node, follow: Following) -> None:
    x = follow.axes(node.input_at(0))
    if not x:
        return
    axis = node.int_attr("axis", 0) % len(x)
    whole = x[axis].size
    stated = node.ints_attr("split") if "split" in node.attributes else follow.numbers(node.input_at(1))
    if stated is None and node.input_at(1) is not None:
        return
    sizes = stated
    if sizes is None:
        if not isinstance(whole, int):
            return
        each = -(-whole // len(node.outputs))
        sizes = (*(each,) * (len(node.outputs) - 1), whole - each * (len(node.outputs) - 1))
    if len(sizes) != len(node.outputs) or min(sizes) < 0:
        return
    parts = tuple(follow.extents.leaf(size) for size in sizes)
    follow.unify(x[axis], sum_of(*parts), node)
    if "split" in node.attributes:
        follow.attributes.extend(AttributeSize(node, "split", part, index) for index, part in enumerate(parts))
    elif node.input_at(1) is not None:
        follow.demand(node, 1, dict(enumerate(parts)))
    else:
        follow.splits.append(SplitSizes(node, parts))
    for output, part in zip(node.outputs, parts, strict=True):
        follow.give(output, [*x[:axis], part, *x[axis + 1 :]])


def _slice(node: Node, follow: Following) -> None:
    x = follow.axes(node.input_at(0))
    if x is None:
        return
    by_attribute = "starts" in node.attributes
    bounds = [
        node.ints_attr(name) if by_attribute and name in node.attributes else follow.numbers(node.input_at(index))
        for index, name in enumerate(("starts", "ends", "axes", "steps"), 1)
    ]
    starts, ends, axes, steps = bounds
    count = None if starts is None else len(starts)
    if axes is None and node.input_at(3) is None and count is not None:
        axes = tuple(range(count))
    if steps is None and node.input_at(4) is None and count is not None:
        steps = (1,) * count
    elements = follow.sizes.read(node, 0)
    if starts is None or ends is None or axes is None or steps is None:
        follow.sizes.escape(node, 0)
        _unknown_slice(node, follow, x, axes)
        return
    if elements is not None:
        follow.sizes.give(node.outputs[0], elements[starts[0] : ends[0] : steps[0]])
    shape = node.outputs[0].shape
    found = list(x)
    sizes: tuple[dict[int, Extent], dict[int, Extent]] = {}, {}
    for index, axis in enumerate(axes):
        place = axis % len(x)
        given = None if shape is None else shape[place]
        ends_at = _sliced(node, follow, found, place, (starts[index], ends[index], steps[index]), given)
        if ends_at is not None:
            sizes[0][index], sizes[1][index] = ends_at
    for position, name in enumerate(("starts", "ends")):
        if by_attribute:
            follow.attributes.extend(AttributeSize(node, name, extent, i) for i, extent in sizes[position].items())
        elif sizes[position]:
            follow.demand(node, position + 1, sizes[position])
    follow.give(node.outputs[0], found)


def _unknown_slice(node: Node, follow: Following, x: Axes, axes: tuple[int, ...] | None) -> None:
    shape = node.outputs[0].shape
    if shape is None:
        return
    places = set(range(len(x))) if axes is None else {axis % len(x) for axis in axes}
    for place in places:
        follow.freeze(x[place], _PICKED, node)
    follow.give(
        node.outputs[0],
        [follow.fixed(shape[place], _PICKED, node) if place in places else extent for place, extent in enumerate(x)],
    )


def _sliced(
    node: Node, follow: Following, found: Axes, place: int, bounds: tuple[int, int, int], given: Dim
) -> tuple[Extent, Extent] | None:
    """Cut one axis; returns what lies before the cut and what before its end, if numbers must follow."""
    start, end, step = bounds
    extent = found[place]
    whole = extent.size
    if step == 1 and start == 0 and (given == whole and whole is not None):
        if isinstance(whole, int) and 0 <= end <= whole:
            return Sum(()), extent  # the end is its size
        if end > 0:
            return None
    if isinstance(whole, int) and step == 1:
        first, last = (min(max(at + whole if at < 0 else at, 0), whole) for at in (start, end))
        last = max(first, last)
        parts = [follow.extents.leaf(size) for size in (first, last - first, whole - last)]
        follow.unify(extent, sum_of(*(part for part in parts if part.size != 0)), node)
        found[place] = parts[1]
        return _known(parts[0]), sum_of(*(_known(part) for part in parts[:2]))
    if isinstance(whole, int) and step > 1 and whole % step == 0 and 0 <= start < step and end >= whole:
        found[place] = follow.extents.leaf(whole // step)
        every = follow.fixed(step, "every so many indices are picked", node)
        follow.unify(extent, product_of(found[place], every), node)
        return None
    follow.freeze(extent, _PICKED, node)
    found[place] = follow.fixed(given, _PICKED, node)
    return None


def _known(part: Extent) -> Extent:
    return Sum(()) if part.size == 0 else part


def _pad(node: Node, follow: Following) -> None:
    x = follow.axes(node.input_at(0))
    shape = node.outputs[0].shape
    if x is None or shape is None:
        return
    pads = node.ints_attr("pads") if "pads" in node.attributes else follow.numbers(node.input_at(1))
    chosen = follow.numbers(node.input_at(3))
    if pads is None or (chosen is None and node.input_at(3) is not None):
        pads, chosen = (1,) * (2 * len(x)), None  # nothing is known: all axes may be padded
        mode = "unknown"
    else:
        mode = node.str_attr("mode", "constant")
    axes = tuple(range(len(x))) if chosen is None else tuple(axis % len(x) for axis in chosen)
    found = list(x)
    for index, axis in enumerate(axes):
        before, after = pads[index], pads[index + len(axes)]
        if mode == "constant" and before >= 0 and after >= 0 and found[axis].size is not None:
            ends = [follow.fixed(size, "it is padding", node) for size in (before, after) if size]
            found[axis] = sum_of(*ends[: before > 0], found[axis], *ends[before > 0 :])
        elif before or after:
            follow.freeze(found[axis], "it is padded with parts of itself, or by sizes that are computed", node)
            found[axis] = follow.fixed(shape[axis], "it is padded", node)
    follow.give(node.outputs[0], found)


def _gather(node: Node, follow: Following) -> None:
    x, indices = follow.axes(node.input_at(0)), follow.axes(node.input_at(1))
    axis = node.int_attr("axis", 0)
    _pick_elements(node, follow)
    if not x or indices is None:
        return
    axis = axis % len(x)
    copies = _copies(follow.numbers(node.input_at(1)), x[axis].size)
    if copies is not None and len(indices) == 1:
        copy = follow.extents.leaf(copies)
        follow.repeats.append(RepeatedIndices(node, x[axis], copy))
        follow.give(node.outputs[0], [*x[:axis], product_of(x[axis], copy), *x[axis + 1 :]])
        return
    follow.freeze(x[axis], _PICKED, node)
    for extent in indices:
        if follow.is_weight(node.input_at(1)):
            follow.freeze(extent, _PICKED, node)
    for place in range(len(x)):
        if place != axis:
            follow.role(node.input_at(0), place, "out", node)
    follow.give(node.outputs[0], [*x[:axis], *indices, *x[axis + 1 :]])


def _copies(numbers: tuple[int, ...] | None, size: Dim) -> int | None:
    """How often each index is taken, where all are taken equally often, in order and neighbours."""
    if not numbers or not isinstance(size, int) or size < 2 or len(numbers) % size:
        return None
    times = len(numbers) // size
    return times if numbers == tuple(index for index in range(size) for _ in range(times)) else None


def _pick_elements(node: Node, follow: Following) -> None:
    numbers = follow.numbers(node.input_at(1))
    known = follow.sizes.read(node, 0)
    if known is None:
        return
    if numbers is None or any(not -len(known) <= number < len(known) for number in numbers):
        follow.sizes.escape(node, 0)
        return
    follow.sizes.give(node.outputs[0], [known[number] for number in numbers])


FUNCTIONS: dict[str, RoleFunction] = {
    "Concat": _concat,
    "Gather": _gather,
    "Pad": _pad,
    "Slice": _slice,
    "Split": _split,
}
