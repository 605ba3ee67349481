"""Operators that move data, in numpy: exact for every element type, and cheaper than a runtime for small tensors.

A kernel gives ``None`` for what it is not sure of: wrong shapes, indices out of range, old versions of an operator with another meaning,
results of more elements than ``limit``. Source: https://onnx.ai/onnx/operators
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from graphopt.ir import Array, Constant, Node

__all__ = ["MOVEMENT_KERNELS", "Inputs", "Kernel", "Results"]

Inputs = Sequence[Array | None]
Results = Sequence[Array] | None
#: Gives the outputs of a node from its inputs; the last argument is the largest number of elements of a result.
Kernel = Callable[[Node, Inputs, int], Results]


_OPEN_END = (1 << 31) - 1
#: Ends that stand for the end of an axis, whatever its size.
_LARGEST = frozenset({(1 << 31) - 1, (1 << 63) - 1})


def _integers(node: Node, inputs: Inputs, index: int, attribute: str) -> list[int] | None:
    """Integers that newer versions of an operator take as an input and older ones as an attribute."""
    if index < len(inputs):
        given = inputs[index]
        if given is not None:
            return [int(item) for item in given.reshape(-1).tolist()]
    stated = node.attributes.get(attribute)
    return [int(item) for item in stated.value] if stated is not None and isinstance(stated.value, tuple) else None  # type: ignore[arg-type]  # checked by the schema


def _axis(axis: int, rank: int) -> int | None:
    return axis % rank if -rank <= axis < rank else None


def _axes(axes: Sequence[int], rank: int) -> list[int] | None:
    """Axes counted from the front, ``None`` when one is out of range or there twice."""
    found = [axis % rank for axis in axes if -rank <= axis < rank] if rank else []
    return found if len(found) == len(axes) == len(set(found)) else None


def _identity(node: Node, inputs: Inputs, limit: int) -> Results:
    x = inputs[0]
    return None if x is None else [x]


def _shape(node: Node, inputs: Inputs, limit: int) -> Results:
    x = inputs[0]
    if x is None:
        return None
    start = node.int_attr("start", 0)
    end = node.int_attr("end") if "end" in node.attributes else None
    return [np.array(x.shape[start:end], np.int64)]


def _size(node: Node, inputs: Inputs, limit: int) -> Results:
    x = inputs[0]
    return None if x is None else [np.array(x.size, np.int64)]


def _gather(node: Node, inputs: Inputs, limit: int) -> Results:
    x, indices = inputs
    if x is None or indices is None or not x.ndim:
        return None
    axis = _axis(node.int_attr("axis", 0), x.ndim)
    if axis is None or (x.size // max(x.shape[axis], 1)) * indices.size > limit:
        return None
    if x.dtype == object and math.prod(x.shape[axis + 1 :]) != 1:
        return None  # ONNX Runtime 1.31 gathers blocks of strings in its own way
    size = x.shape[axis]
    if indices.size and (indices.min() < -size or indices.max() >= size):
        return None
    return [np.asarray(np.take(x, indices.astype(np.int64), axis=axis), x.dtype)]  # one string is no array


def _slice(node: Node, inputs: Inputs, limit: int) -> Results:
    x = inputs[0]
    starts, ends = _integers(node, inputs, 1, "starts"), _integers(node, inputs, 2, "ends")
    if x is None or starts is None or ends is None or len(starts) != len(ends):
        return None
    stated, steps = _integers(node, inputs, 3, "axes"), _integers(node, inputs, 4, "steps")
    axes = _axes(list(range(len(starts))) if stated is None else stated, x.ndim)
    steps = [1] * len(starts) if steps is None else steps
    if axes is None or not len(axes) == len(steps) == len(starts) or 0 in steps:
        return None
    if any(step < 0 and end in _LARGEST for end, step in zip(ends, steps, strict=True)):
        return None  # past the end to the specification, and so nothing; the start to ONNX Runtime, and so all
    if any(step < 0 and end >= _OPEN_END for step, end in zip(steps, ends, strict=True)):
        return None  # the specification stops at the first element at once, ONNX Runtime takes all
    places = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        places[axis] = _bounds(start, end, step, x.shape[axis])
    part = x[tuple(places)]
    return [np.ascontiguousarray(part).reshape(part.shape)]


def _bounds(start: int, end: int, step: int, size: int) -> slice:
    """ONNX bounds as a slice: negative ones count from the end, then both are cut to the axis."""
    start, end = start + size if start < 0 else start, end + size if end < 0 else end
    if step > 0:
        return slice(min(max(start, 0), size), min(max(end, 0), size), step)
    start, end = min(max(start, 0), size - 1), min(max(end, -1), size - 1)
    return slice(start, None if end < 0 else end, step) if size else slice(0, 0)


def _concat(node: Node, inputs: Inputs, limit: int) -> Results:
    parts = [part for part in inputs if part is not None]
    if len(parts) != len(inputs) or "axis" not in node.attributes or sum(part.size for part in parts) > limit:
        return None
    axis = _axis(node.int_attr("axis"), parts[0].ndim)
    if axis is None or len({part.dtype for part in parts}) > 1:
        return None
    return [np.concatenate(parts, axis=axis)]


def _split(node: Node, inputs: Inputs, limit: int) -> Results:
    x, count = inputs[0], len(node.outputs)
    if x is None:
        return None
    axis = _axis(node.int_attr("axis", 0), x.ndim)
    if axis is None:
        return None
    sizes, size = _integers(node, inputs, 1, "split"), x.shape[axis]
    if sizes is None:
        part = -(-size // count)
        if (size % count and "num_outputs" not in node.attributes) or part * (count - 1) >= size:
            return None  # uneven parts need to be asked for; an empty last part is refused at run time
        sizes = [part] * (count - 1) + [size - part * (count - 1)]
    if len(sizes) != count or min(sizes) < 0 or sum(sizes) != size:
        return None
    return [np.ascontiguousarray(part) for part in np.split(x, np.cumsum(sizes)[:-1], axis=axis)]


def _squeeze(node: Node, inputs: Inputs, limit: int) -> Results:
    x = inputs[0]
    if x is None:
        return None
    stated = _integers(node, inputs, 1, "axes")
    if stated is not None and not stated:
        return None  # none of them to the specification, all of them to ONNX Runtime
    axes = _axes(stated, x.ndim) if stated is not None else [a for a, size in enumerate(x.shape) if size == 1]
    if axes is None or any(x.shape[axis] != 1 for axis in axes):
        return None
    return [x.reshape([size for axis, size in enumerate(x.shape) if axis not in axes])]


def _unsqueeze(node: Node, inputs: Inputs, limit: int) -> Results:
    x, stated = inputs[0], _integers(node, inputs, 1, "axes")
    if x is None or stated is None:
        return None
    axes = _axes(stated, x.ndim + len(stated))
    if axes is None:
        return None
    sizes = iter(x.shape)
    return [x.reshape([1 if axis in axes else next(sizes) for axis in range(x.ndim + len(axes))])]


def _reshape(node: Node, inputs: Inputs, limit: int) -> Results:
    x, stated = inputs[0], _integers(node, inputs, 1, "shape")
    if x is None or stated is None or stated.count(-1) > 1 or min(stated, default=0) < -1:
        return None
    sizes = list(stated)
    for axis, size in enumerate(sizes):
        if size == 0 and not node.attr("allowzero"):
            if axis >= x.ndim:
                return None
            sizes[axis] = x.shape[axis]
    known = math.prod(size for size in sizes if size != -1)
    if -1 in sizes:
        if known == 0 or x.size % known:
            return None
        sizes[sizes.index(-1)] = x.size // known
    return [x.reshape(sizes)] if math.prod(sizes) == x.size else None


def _flatten(node: Node, inputs: Inputs, limit: int) -> Results:
    x, axis = inputs[0], node.int_attr("axis", 1)
    if x is None or not -x.ndim <= axis <= x.ndim:
        return None
    axis = axis + x.ndim if axis < 0 else axis
    return [x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))]


def _transpose(node: Node, inputs: Inputs, limit: int) -> Results:
    x = inputs[0]
    if x is None:
        return None
    order = node.ints_attr("perm") or tuple(reversed(range(x.ndim)))
    if sorted(order) != list(range(x.ndim)):
        return None
    return [np.ascontiguousarray(x.transpose(order)).reshape([x.shape[axis] for axis in order])]


def _constant_of_shape(node: Node, inputs: Inputs, limit: int) -> Results:
    sizes = _integers(node, inputs, 0, "shape")
    if sizes is None or min(sizes, default=0) < 0 or math.prod(sizes) > limit:
        return None
    stated = node.attr("value")
    fill = stated.numpy() if isinstance(stated, Constant) else np.zeros(1, np.float32)
    return [np.full(sizes, fill.reshape(-1)[0], fill.dtype)] if fill.size == 1 else None


def _expand(node: Node, inputs: Inputs, limit: int) -> Results:
    x, sizes = inputs[0], _integers(node, inputs, 1, "shape")
    if x is None or sizes is None:
        return None
    shape = np.broadcast_shapes(x.shape, tuple(sizes))
    return [np.array(np.broadcast_to(x, shape))] if math.prod(shape) <= limit else None


def _tile(node: Node, inputs: Inputs, limit: int) -> Results:
    x, repeats = inputs[0], _integers(node, inputs, 1, "repeats")
    if x is None or repeats is None or len(inputs) != 2 or len(repeats) != x.ndim or min(repeats, default=0) < 0:
        return None
    return [np.tile(x, repeats)] if x.size * math.prod(repeats) <= limit else None


def _where(node: Node, inputs: Inputs, limit: int) -> Results:
    condition, x, y = inputs
    if condition is None or x is None or y is None or x.dtype != y.dtype or condition.dtype != np.bool_:
        return None
    shape = np.broadcast_shapes(condition.shape, x.shape, y.shape)
    return [np.asarray(np.where(condition, x, y))] if math.prod(shape) <= limit else None


def _non_zero(node: Node, inputs: Inputs, limit: int) -> Results:
    x = inputs[0]
    if x is None or not x.ndim or x.dtype.kind not in "biuf":
        return None
    return [np.array(np.nonzero(x), np.int64)]


MOVEMENT_KERNELS: dict[str, Kernel] = {
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Identity": _identity,
    "NonZero": _non_zero,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
