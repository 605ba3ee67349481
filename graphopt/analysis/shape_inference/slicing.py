"""Operators that take parts: Slice and Split, with bounds that may be expressions, and Pad, which adds at the ends."""

from __future__ import annotations

from collections.abc import Sequence

from graphopt.analysis.shape_inference.facts import Facts, ShapeFunction, dtype_at, shape_at, tensor
from graphopt.ir import Dim, Node, Shape, Type, dim_max, dim_min, dim_quotient
from graphopt.ir.dims import KnownDim

__all__ = ["FUNCTIONS", "sliced"]

_LARGEST_STEP = 1 << 30
#: Ends from here on mean the end of any axis.
_END = (1 << 31) - 1


def _slice(node: Node, facts: Facts) -> Sequence[Type | None]:
    shape, dtype = shape_at(node, facts, 0), dtype_at(node, 0)
    if shape is None:
        return (tensor(dtype, None),)
    found: list[Dim] = list(shape)
    bounds = _bounds(node, facts)
    if bounds is None:
        return (tensor(dtype, (None,) * len(shape)),)
    starts, ends, axes, steps = bounds
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if not -len(shape) <= axis < len(shape):
            return (tensor(dtype, (None,) * len(shape)),)
        found[axis] = sliced(shape[axis], start, end, step, facts)
    return (tensor(dtype, tuple(found)),)


def _bounds(node: Node, facts: Facts) -> tuple[Shape, Shape, tuple[int, ...], Shape] | None:
    axes: tuple[int, ...] | None
    steps: Shape | None
    if "starts" in node.attributes:
        starts: Shape | None = node.ints_attr("starts")
        ends: Shape | None = node.ints_attr("ends")
        axes, steps = node.ints_attr("axes"), None
        has_axes, has_steps = axes is not None, False
    else:
        starts, ends = facts.elements(node.input_at(1)), facts.elements(node.input_at(2))
        has_axes, has_steps = node.input_at(3) is not None, node.input_at(4) is not None
        axes, steps = facts.numbers(node.input_at(3)), facts.elements(node.input_at(4))
    count = next((len(item) for item in (starts, ends, axes) if item is not None), None)
    if count is None or (has_axes and axes is None):
        return None
    starts = (None,) * count if starts is None else starts
    ends = (None,) * count if ends is None else ends
    axes = tuple(range(count)) if axes is None else axes
    steps = (1,) * count if not has_steps else (None,) * count if steps is None else steps
    return None if not len(starts) == len(ends) == len(axes) == len(steps) == count else (starts, ends, axes, steps)


def sliced(size: Dim, start: Dim, end: Dim, step: Dim, facts: Facts) -> Dim:
    """How many elements a slice takes of an axis, ``None`` where that is not certain."""
    if not isinstance(step, int) or step == 0 or abs(step) > _LARGEST_STEP:
        return None
    if isinstance(size, int) and isinstance(start, int) and isinstance(end, int):
        if step < 0 and end >= _END:
            return None  # the start, to ONNX Runtime
        return len(range(*slice(start, end, step).indices(size)))
    if size is None or start is None or step < 0:
        return None
    last = _clamped_end(size, end, facts)
    if last is None:
        return None
    if start == 0:
        count = last
    elif facts.is_nonnegative(start):  # one beyond the end makes the difference negative: nothing is taken
        count = _at_least_zero(last - start, facts)
    elif isinstance(start, int):
        count = dim_min(-start, size) if last == size else dim_max(last - dim_max(size + start, 0), 0)
    else:
        return None
    return count if step == 1 else (count + (step - 1)) // step


def _clamped_end(size: Dim, end: Dim, facts: Facts) -> Dim:
    assert size is not None
    if end is None:
        return None
    if end == size or (isinstance(end, int) and end >= _END):
        return size
    if facts.is_nonnegative(end):
        return dim_min(end, size)
    if isinstance(end, int):
        return _at_least_zero(size + end, facts)
    return dim_max(end, 0) if end == size - 1 else None  # -1 for an empty axis, which ends at 0 as well


def _at_least_zero(dim: KnownDim, facts: Facts) -> KnownDim:
    return dim if facts.is_nonnegative(dim) else dim_max(dim, 0)


def _split(node: Node, facts: Facts) -> Sequence[Type | None]:
    shape, dtype = shape_at(node, facts, 0), dtype_at(node, 0)
    count, axis = len(node.outputs), node.int_attr("axis", 0)
    if shape is None or not -len(shape) <= axis < len(shape):
        return (tensor(dtype, None),) * count
    axis = axis + len(shape) if axis < 0 else axis
    sizes = _split_sizes(node, facts, shape[axis])
    return tuple(tensor(dtype, (*shape[:axis], size, *shape[axis + 1 :])) for size in sizes)


def _split_sizes(node: Node, facts: Facts, size: Dim) -> Sequence[Dim]:
    count = len(node.outputs)
    stated = node.ints_attr("split")
    given = node.input_at(1)
    if stated or given is not None:
        sizes: Shape | None = stated or facts.elements(given)
        return sizes if sizes is not None and len(sizes) == count else (None,) * count
    parts = node.attributes.get("num_outputs")
    if size is None or (parts is not None and parts.value != count):
        return (None,) * count
    if parts is None:  # equal parts
        return (size // count,) * count
    if isinstance(size, int):
        part = -(-size // count)
        return [max(0, min(part, size - index * part)) for index in range(count)]
    exact = dim_quotient(size, count)
    return (exact,) * count


def _pad(node: Node, facts: Facts) -> Sequence[Type | None]:
    shape, dtype = shape_at(node, facts, 0), dtype_at(node, 0)
    if shape is None:
        return (tensor(dtype, None),)
    stated = node.ints_attr("pads") or node.ints_attr("paddings")
    pads: Shape | None = stated if stated is not None else facts.elements(node.input_at(1))
    given = node.input_at(3) if stated is None else None
    axes: Sequence[int] | None = range(len(shape)) if given is None else facts.numbers(given)
    if pads is None or axes is None or len(pads) != 2 * len(axes):
        return (tensor(dtype, (None,) * len(shape)),)
    found: list[Dim] = list(shape)
    for index, axis in enumerate(axes):
        if not -len(shape) <= axis < len(shape):
            return (tensor(dtype, (None,) * len(shape)),)
        size, before, after = found[axis], pads[index], pads[index + len(axes)]
        found[axis] = None if size is None or before is None or after is None else size + before + after
    return (tensor(dtype, tuple(found)),)


FUNCTIONS: dict[str, ShapeFunction] = {
    "Slice": _slice,
    "Split": _split,
    "Pad": _pad,
}
