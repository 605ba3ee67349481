"""Shapes: read, changed, broadcast. Sizes that are not known until the engine runs are int64 shape tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphopt.backends.tensorrt.converters.operands import constants, integers
from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.protocols import Tensor
from graphopt.backends.tensorrt.registry import lower
from graphopt.ir import DType, Node

__all__ = [
    "broadcast",
    "expand",
    "flatten",
    "reshape",
    "reshaped",
    "shape",
    "size",
    "squeeze",
    "tile",
    "transpose",
    "unsqueeze",
]


@lower("Shape")
def shape(e: Emitter, node: Node) -> Sequence[Tensor]:
    """The sizes, int64 [rank], from ``start`` to ``end``."""
    x = e.input(node, 0)
    rank = e.rank(x)
    start, end, _ = slice(node.int_attr("start", 0), node.int_attr("end", rank)).indices(rank)
    axes = range(rank)[start:end]
    if not axes:
        return [e.constant(np.zeros(0, np.int64))]
    return [e.sizes(x, axes)]


@lower("Size")
def size(e: Emitter, node: Node) -> Sequence[Tensor]:
    """The number of elements."""
    x = e.input(node, 0)
    if -1 not in tuple(x.shape):
        return [e.constant(np.array(np.prod(tuple(x.shape), dtype=np.int64), np.int64))]
    return [e.reduce(e.shape(x), "PROD", [0], keep=False)]


@lower("Reshape")
def reshape(e: Emitter, node: Node) -> Sequence[Tensor]:
    """A shuffle layer; where a 0 keeps a size that is not known, that size is read."""
    x, target = e.input(node, 0), integers(node, "shape", 1)
    allow_zero = bool(node.int_attr("allowzero", 0))
    if target is None:
        return [_reshaped_by_tensor(e, x, e.input(node, 1), allow_zero=allow_zero)]
    return [reshaped(e, x, target, allow_zero=allow_zero)]


def reshaped(e: Emitter, x: Tensor, target: Sequence[int], *, allow_zero: bool = False) -> Tensor:
    """A tensor in a shape as ONNX's Reshape states it."""
    sizes = [
        x.shape[place] if size == 0 and not allow_zero and place < e.rank(x) else size
        for place, size in enumerate(target)
    ]
    if sum(size == -1 for size in sizes) <= 1:
        return e.reshape(x, sizes)
    if target.count(-1) == 1 and 0 in target:  # TensorRT itself keeps sizes that are 0
        layer = e.check(e.network.add_shuffle(x))
        layer.zero_is_placeholder = True
        layer.reshape_dims = tuple(target)
        return e.out(layer)
    if -1 in target:
        raise e.fail("a Reshape to more than one size that is not known")
    layer = e.check(e.network.add_shuffle(x))
    layer.zero_is_placeholder = True
    layer.reshape_dims = tuple(target)
    return e.out(layer)


def _reshaped_by_tensor(e: Emitter, x: Tensor, target: Tensor, *, allow_zero: bool) -> Tensor:
    layer = e.check(e.network.add_shuffle(x))
    layer.zero_is_placeholder = not allow_zero
    layer.set_input(1, e.cast(target, DType.INT64))
    return e.out(layer)


@lower("Flatten")
def flatten(e: Emitter, node: Node) -> Sequence[Tensor]:
    """Two axes: those before ``axis``, and the rest."""
    x = e.input(node, 0)
    rank = e.rank(x)
    axis = node.int_attr("axis", 1)
    axis = axis + rank if axis < 0 else axis
    front, back = (tuple(x.shape)[:axis], tuple(x.shape)[axis:])
    if -1 not in front:
        return [
            e.reshape(
                x, [int(np.prod(front, dtype=np.int64)), -1 if -1 in back else int(np.prod(back, dtype=np.int64))]
            )
        ]
    if -1 not in back:
        return [e.reshape(x, [-1, int(np.prod(back, dtype=np.int64))])]
    parts = [e.reduce(e.sizes(x, axes), "PROD", [0], keep=True) for axes in (range(axis), range(axis, rank))]
    return [e.reshape(x, e.concat(parts))]


@lower("Squeeze", supports=constants(1))
def squeeze(e: Emitter, node: Node) -> Sequence[Tensor]:
    """Without axes of size 1; all of them, if none are stated."""
    x, axes = e.input(node, 0), integers(node, "axes", 1)
    if axes is None:
        if -1 in tuple(x.shape):
            raise e.fail("a Squeeze of all axes of size 1, of sizes that are not known")
        axes = tuple(place for place, size in enumerate(x.shape) if size == 1)
    return [e.squeeze(x, axes)] if axes else [x]


@lower("Unsqueeze", supports=constants(1))
def unsqueeze(e: Emitter, node: Node) -> Sequence[Tensor]:
    """With axes of size 1."""
    axes = integers(node, "axes", 1) or ()
    return [e.unsqueeze(e.input(node, 0), axes)] if axes else [e.input(node, 0)]


@lower("Transpose")
def transpose(e: Emitter, node: Node) -> Sequence[Tensor]:
    """A shuffle layer."""
    x = e.input(node, 0)
    return [e.transpose(x, node.ints_attr("perm") or tuple(reversed(range(e.rank(x)))))]


@lower("Expand")
def expand(e: Emitter, node: Node) -> Sequence[Tensor]:
    """Broadcast to a shape, both ways."""
    x, target = e.input(node, 0), integers(node, "", 1)
    if target is not None:
        x = e.with_rank(x, len(target))
        sizes = (1,) * (e.rank(x) - len(target)) + tuple(target)
        if -1 not in tuple(x.shape):
            return [e.expand(x, np.broadcast_shapes(tuple(x.shape), sizes))]
        wanted: Tensor = e.constant(np.array(sizes, np.int64))
    else:
        wanted = e.cast(e.input(node, 1), DType.INT64)
        length = wanted.shape[0]
        if length == -1:
            raise e.fail("an Expand to a number of axes that is not known")
        x = e.with_rank(x, length)
        if e.rank(x) > length:
            wanted = e.concat([e.constant(np.ones(e.rank(x) - length, np.int64)), wanted])
    return [e.expand(x, broadcast(e, e.shape(x), wanted))]


def broadcast(e: Emitter, a: Tensor, b: Tensor) -> Tensor:
    """The sizes of two shapes that are broadcast together: of a pair, the one that is not 1."""
    one = e.scalar_like(1, a)
    return e.select(e.elementwise(a, one, "EQUAL"), b, a)


@lower("Tile")
def tile(e: Emitter, node: Node) -> Sequence[Tensor]:
    """A slice that goes round and round."""
    x, repeats = e.input(node, 0), integers(node, "", 1)
    rank = e.rank(x)
    if not rank or (repeats is not None and all(item == 1 for item in repeats)):
        return [x]
    layer = e.check(e.network.add_slice(x, [0] * rank, [1] * rank, [1] * rank))
    layer.mode = e.api.enum("SampleMode", "WRAP")
    if repeats is None or -1 in tuple(x.shape):
        times = e.cast(e.input(node, 1), DType.INT64)
        layer.set_input(2, e.elementwise(e.shape(x), times, "PROD"))
    else:
        layer.shape = tuple(size * times for size, times in zip(x.shape, repeats, strict=True))
    return [e.out(layer)]
