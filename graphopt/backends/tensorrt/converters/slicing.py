"""Parts of tensors, joined and cut: Slice, Split, Concat, Pad."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphopt.backends.tensorrt.converters.operands import all_of, constants, integers
from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.protocols import Tensor
from graphopt.backends.tensorrt.registry import lower
from graphopt.ir import DType, Node

__all__ = ["concat", "pad", "slice_", "slice_sizes", "split"]


@lower("Concat")
def concat(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One layer; what is empty along the axis is left out."""
    given = [e.input(node, place) for place in range(len(node.inputs))]
    axis = e.axis(node.int_attr("axis", 1), given[0])
    some = [item for item in given if item.shape[axis] != 0] or given[:1]
    return [e.concat(some, axis)]


@lower("Slice", supports=all_of(constants(3, 4)))
def slice_(e: Emitter, node: Node) -> Sequence[Tensor]:
    """A slice layer; it wants sizes where ONNX states ends, which may lie outside."""
    x = e.input(node, 0)
    starts, ends = integers(node, "starts", 1), integers(node, "ends", 2)
    count = len(starts) if starts is not None else e.input(node, 1).shape[0]
    if count == -1:
        raise e.fail("a Slice along a number of axes that is not known")
    axes = [axis % e.rank(x) for axis in integers(node, "axes", 3) or range(count)]
    steps = list(integers(node, "steps", 4) or (1,) * count)
    if starts is not None and ends is not None and all(x.shape[axis] != -1 for axis in axes):
        return [_static_slice(e, x, axes, starts, ends, steps)]
    return [_dynamic_slice(e, x, axes, _long(e, node, 1, starts), _long(e, node, 2, ends), steps)]


def _long(e: Emitter, node: Node, place: int, known: Sequence[int] | None) -> Tensor:
    if known is not None:
        return e.constant(np.clip(np.array(known, np.int64), -(2**31) + 1, 2**31 - 1))
    return e.cast(e.input(node, place), DType.INT64)


def _static_slice(
    e: Emitter, x: Tensor, axes: Sequence[int], starts: Sequence[int], ends: Sequence[int], steps: Sequence[int]
) -> Tensor:
    rank = e.rank(x)
    start, stride, shape = [0] * rank, [1] * rank, list(x.shape)
    for axis, first, last, step in zip(axes, starts, ends, steps, strict=True):
        picked = range(x.shape[axis])[slice(first, _end(last, step, x.shape[axis]), step)]
        start[axis], stride[axis], shape[axis] = (picked.start if picked else 0), step, len(picked)
    return slice_sizes(e, x, start, shape, stride)


def _end(last: int, step: int, size: int) -> int | None:
    """An end as Python's slices have it: before the first one is ``None``."""
    return None if step < 0 and last < -size else last


def slice_sizes(
    e: Emitter, x: Tensor, start: Sequence[int], shape: Sequence[int], stride: Sequence[int], mode: str = ""
) -> Tensor:
    """A slice layer; sizes of -1 are those of the tensor."""
    unknown = [place for place, size in enumerate(shape) if size == -1]
    sizes = [1 if size == -1 else size for size in shape]
    layer = e.check(e.network.add_slice(x, list(start), sizes, list(stride)), settled=not unknown)
    if mode:
        layer.mode = e.api.enum("SampleMode", mode)
    if unknown:
        known = e.constant(np.array(shape, np.int64))
        if len(unknown) == len(shape):
            layer.set_input(2, e.shape(x))
        else:
            mask = e.constant(np.array([size == -1 for size in shape]))
            layer.set_input(2, e.select(mask, e.shape(x), known))
    return e.out(layer)


def _dynamic_slice(
    e: Emitter, x: Tensor, axes: Sequence[int], starts: Tensor, ends: Tensor, steps: Sequence[int]
) -> Tensor:
    sizes, step = e.sizes(x, axes), np.array(steps, np.int64)
    one, zero = e.constant(np.ones(len(axes), np.int64)), e.constant(np.zeros(len(axes), np.int64))
    back = e.constant((step < 0).astype(np.int64))
    first = _wrapped(e, starts, sizes, zero)
    last = _wrapped(e, ends, sizes, zero)
    top = e.elementwise(sizes, back, "SUB")  # backwards from the last one
    low = e.elementwise(zero, back, "SUB")  # backwards to before the first one
    first = e.elementwise(e.elementwise(first, zero, "MAX"), top, "MIN")
    last = e.elementwise(e.elementwise(last, low, "MAX"), top, "MIN")
    length = e.elementwise(last, first, "SUB")
    signed = e.constant(np.sign(step))
    length = e.elementwise(length, signed, "PROD")  # distance in the direction of the step
    width = e.constant(np.abs(step))
    up = e.elementwise(e.elementwise(length, width, "SUM"), one, "SUB")
    count = e.elementwise(e.elementwise(up, width, "FLOOR_DIV"), zero, "MAX")
    rank = e.rank(x)
    stride = [1] * rank
    for axis, item in zip(axes, steps, strict=True):
        stride[axis] = item
    layer = e.check(e.network.add_slice(x, [0] * rank, [1] * rank, stride), settled=False)
    layer.set_input(1, _spread(e, first, axes, e.constant(np.zeros(rank, np.int64))))
    layer.set_input(2, _spread(e, count, axes, e.shape(x)))
    return e.out(layer)


def _wrapped(e: Emitter, places: Tensor, sizes: Tensor, zero: Tensor) -> Tensor:
    """Places counted from the front."""
    return e.select(e.elementwise(places, zero, "LESS"), e.elementwise(places, sizes, "SUM"), places)


def _spread(e: Emitter, numbers: Tensor, axes: Sequence[int], rest: Tensor) -> Tensor:
    """Numbers at the places of axes, those of ``rest`` elsewhere: one number for each axis of the whole."""
    rank = rest.shape[0]
    both = e.concat([rest, numbers])
    order = np.arange(rank, dtype=np.int32)
    for place, axis in enumerate(axes):
        order[axis] = rank + place
    return e.gather(both, e.constant(order), 0)


@lower("Split", supports=constants(1))
def split(e: Emitter, node: Node) -> Sequence[Tensor]:
    """A slice for each output."""
    x = e.input(node, 0)
    axis, count = e.axis(node.int_attr("axis", 0), x), len(node.outputs)
    sizes, whole = integers(node, "split", 1), x.shape[axis]
    if sizes is None:
        if whole == -1:
            return _split_evenly(e, x, axis, count)
        each = -(-whole // count)
        sizes = tuple(max(0, min(each, whole - each * place)) for place in range(count))
    found, start = [], 0
    for size in sizes:
        begin, shape = [0] * e.rank(x), list(x.shape)
        begin[axis], shape[axis] = start, size
        found.append(slice_sizes(e, x, begin, shape, [1] * e.rank(x)))
        start += size
    return found


def _split_evenly(e: Emitter, x: Tensor, axis: int, count: int) -> list[Tensor]:
    """Parts of a size that is not known; the last one may be smaller."""
    rank, whole = e.rank(x), e.sizes(x, [axis])
    parts, one = e.constant(np.array([count], np.int64)), e.constant(np.array([1], np.int64))
    each = e.elementwise(e.elementwise(e.elementwise(whole, parts, "SUM"), one, "SUB"), parts, "FLOOR_DIV")
    found = []
    for place in range(count):
        start = e.elementwise(each, e.constant(np.array([place], np.int64)), "PROD")
        size = e.elementwise(e.elementwise(whole, start, "SUB"), each, "MIN")
        layer = e.check(e.network.add_slice(x, [0] * rank, [1] * rank, [1] * rank), settled=False)
        layer.set_input(1, _spread(e, start, [axis], e.constant(np.zeros(rank, np.int64))))
        layer.set_input(2, _spread(e, size, [axis], e.shape(x)))
        found.append(e.out(layer))
    return found


_MODES = {"constant": "FILL", "reflect": "REFLECT", "edge": "CLAMP", "wrap": "WRAP"}


@lower("Pad", supports=constants(1, 3))
def pad(e: Emitter, node: Node) -> Sequence[Tensor]:
    """A slice that begins before the tensor and ends behind it."""
    x, pads = e.input(node, 0), integers(node, "pads", 1)
    assert pads is not None, "supports() says that it is constant"
    rank = e.rank(x)
    axes = [axis % rank for axis in integers(node, "axes", 3) or range(rank)]
    before, after = np.zeros(rank, np.int64), np.zeros(rank, np.int64)
    for place, axis in enumerate(axes):
        before[axis], after[axis] = pads[place], pads[len(axes) + place]
    mode = node.str_attr("mode") or "constant"
    layer = e.check(e.network.add_slice(x, list(-before), [1] * rank, [1] * rank), settled=False)
    layer.mode = e.api.enum("SampleMode", _MODES[mode])
    total = before + after
    if -1 in tuple(x.shape):
        layer.set_input(2, e.elementwise(e.shape(x), e.constant(total), "SUM"))
    else:
        layer.shape = tuple(int(size) for size in np.array(tuple(x.shape)) + total)
    if mode == "constant":
        number = e.optional(node, 2)
        if number is None:
            number = e.reshape(e.scalar_like(node.float_attr("value", 0.0), x), [])
        layer.set_input(4, e.reshape(number, []))
    return [e.out(layer)]
