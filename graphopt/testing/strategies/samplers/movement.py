"""Nodes that move data: shapes, parts, copies, lookups, each in the spelling of its opset."""

from __future__ import annotations

import math

import numpy as np
from onnx import NodeProto

from graphopt.ir import Array, DType
from graphopt.testing.strategies.ask import Ask
from graphopt.testing.strategies.sampler import SamplerTable
from graphopt.testing.strategies.scope import dtype_of

__all__ = ["TABLE", "say_axes"]

TABLE = SamplerTable()


def say_axes(ask: Ask, axes: list[int] | None, index: int = 1) -> None:
    """State axes as an attribute or as an input, whichever the opset has; ``None`` says nothing."""
    if "axes" in ask.schema.attributes:
        ask.set(axes=axes)
    elif axes is not None:
        ask.ints(index, axes)


@TABLE("Transpose", keeps=True)
def transpose(ask: Ask) -> None:
    """Any order of axes, or the reverse by default."""
    rank = ask.data(0).ndim
    if rank and ask.choices.chance(0.85):
        ask.set(perm=ask.choices.shuffled(range(rank))[::-1])


def _factors(ask: Ask, count: int) -> list[int]:
    """A shape of so many elements."""
    sizes: list[int] = []
    while count > 1 and len(sizes) < 3:
        divisor = ask.choices.of([number for number in range(2, count + 1) if count % number == 0][:6])
        sizes.append(divisor)
        count //= divisor
    if count != 1:
        sizes.append(count)
    for _ in range(ask.choices.integer(0, 1)):
        sizes.insert(ask.choices.integer(0, len(sizes)), 1)
    return sizes


@TABLE("Reshape")
def reshape(ask: Ask) -> None:
    """To any shape, stated with ``0`` and ``-1`` where they mean the same."""
    array = ask.data(0)
    if 1 in ask.given:
        ask.data(1)
        return
    if array.size == 0:
        target = [0 if ask.choices.chance(0.5) else size for size in array.shape]
    else:
        target = _factors(ask, array.size) if ask.choices.chance(0.7) else list(array.shape)
        if target and ask.choices.chance(0.4):
            target[ask.choices.integer(0, len(target) - 1)] = -1
        for axis, size in enumerate(target[: array.ndim]):
            if size == array.shape[axis] and ask.choices.chance(0.25):
                target[axis] = 0
    if "allowzero" in ask.schema.attributes and ask.choices.chance(0.15):
        ask.set(allowzero=1 if array.size == 0 or 0 not in target else 0)
    ask.ints(1, target)


@TABLE("Flatten")
def flatten(ask: Ask) -> None:
    """Around any axis."""
    rank = ask.data(0).ndim
    if rank == 0 or ask.choices.chance(0.7):
        axis = ask.choices.integer(0, rank)
        ask.set(axis=axis - rank if ask.opset >= 11 and 0 < axis < rank and ask.choices.chance(0.3) else axis)


@TABLE("Squeeze", ranks={0: (1, 5)})
def squeeze(ask: Ask) -> None:
    """Some axes of size 1, or all of them by default."""
    array = ask.data(
        0, fits=lambda a: 1 in a.shape, shape=lambda rank: (1,) * max(1, rank - 1) + (2,) * min(1, max(0, rank - 1))
    )
    ones = [axis for axis, size in enumerate(array.shape) if size == 1]
    if 1 in ask.forms or ask.choices.chance(0.8):
        axes = ask.choices.some(ones, 1)
        say_axes(ask, [axis - array.ndim if ask.opset >= 11 and ask.choices.chance(0.3) else axis for axis in axes])


@TABLE("Unsqueeze", ranks={0: (0, 3)})
def unsqueeze(ask: Ask) -> None:
    """At any places."""
    rank = ask.data(0, ranks=(0, 4)).ndim
    count = ask.choices.of((1, 1, 2))
    axes = ask.choices.some(range(rank + count), count, count)
    say_axes(ask, [axis - rank - count if ask.opset >= 11 and ask.choices.chance(0.3) else axis for axis in axes])


@TABLE("Expand")
def expand(ask: Ask) -> None:
    """Axes of size 1 grow; often none does."""
    array = ask.data(0, ranks=(0, 4))
    target = [ask.choices.of((1, 1, 2, 3)) if size == 1 else ask.choices.of((size, size, 1)) for size in array.shape]
    if ask.choices.chance(0.25):
        target.insert(0, ask.choices.of((1, 2)))
    elif target and ask.choices.chance(0.2):
        target = target[1:]
    ask.ints(1, target)


@TABLE("Tile", keeps=True)
def tile(ask: Ask) -> None:
    """Repeats along each axis, often once."""
    rank = ask.data(0).ndim
    ask.ints(1, [ask.choices.of((1, 1, 1, 2, 0)) for _ in range(rank)])


@TABLE("Concat", keeps=True, ranks={0: (1, 5)})
def concat(ask: Ask) -> None:
    """One to three operands that agree in all axes but one."""
    first = ask.data(min(ask.given, default=0), ranks=(1, 5))
    axis = ask.axis(first.ndim)
    ask.set(axis=axis)
    place = axis % first.ndim

    def fits(other: Array) -> bool:
        return other.ndim == first.ndim and all(
            a == b for index, (a, b) in enumerate(zip(first.shape, other.shape, strict=True)) if index != place
        )

    def shape(_rank: int) -> list[int]:
        size = ask.choices.of((1, 2, 0)) if ask.choices.chance(0.7) else first.shape[place]
        return [size if index == place else other for index, other in enumerate(first.shape)]

    for index in range(ask.count((2, 1, 3))):
        if index not in ask.inputs:
            if index in ask.given or ask.choices.chance(0.6):
                ask.data(index, fits=fits, shape=shape)
            else:
                ask.need(index, ask.drawn(dtype_of(first), shape(0)), "weight")


@TABLE("Split", keeps=True, ranks={0: (1, 5)})
def split(ask: Ask) -> list[bool]:
    """Equal or stated parts."""
    array = ask.data(0, ranks=(1, 5), empty=False)
    joined = ask.scope.maker(ask.inputs[0])
    if joined is not None and joined.op_type == "Concat" and ask.choices.chance(0.6):
        return _as_joined(ask, joined, array.ndim)
    axis = ask.axis(array.ndim)
    ask.set(axis=axis)
    size = array.shape[axis]
    stated = 1 in ask.forms or 1 in ask.given or ask.choices.chance(0.6)
    if stated:
        cut = ask.choices.integer(0, size)
        parts = [cut, size - cut] if ask.choices.chance(0.8) else [size]
        if "split" in ask.schema.attributes:
            ask.set(split=parts)
        else:
            ask.ints(1, parts)
        count = len(parts)
    else:
        count = ask.choices.of([number for number in (1, 2, 3) if size % number == 0])
        ask.set(num_outputs=count)
    return [True] * count


def _as_joined(ask: Ask, joined: NodeProto, rank: int) -> list[bool]:
    """The parts that were joined just before."""
    axis = next(item.i for item in joined.attribute if item.name == "axis")
    parts = [ask.scope.arrays[name].shape[axis] for name in joined.input]
    ask.set(axis=axis - rank if axis >= 0 and ask.opset >= 11 and ask.choices.chance(0.3) else axis)
    if "split" in ask.schema.attributes:
        ask.set(split=parts)
    else:
        ask.ints(1, parts)
    return [True] * len(parts)


@TABLE("Slice", keeps=True, ranks={0: (1, 5)})
def slice_(ask: Ask) -> None:
    """Bounds of any sign, beyond the ends, steps of any sign."""
    array = ask.data(0, ranks=(1, 5))
    axes = sorted(ask.choices.some(range(array.ndim), 1, 2))
    starts, ends, steps = [], [], []
    for axis in axes:
        size = array.shape[axis]
        starts.append(ask.choices.of((0, 0, 1, -1, -size, size)))
        ends.append(ask.choices.of((size, (1 << 31) - 1, (1 << 63) - 1, -1, 1, size + 3)))
        steps.append(ask.choices.of((1, 1, 2)))
        if ask.has_input(4) and ask.choices.chance(0.15):
            starts[-1], ends[-1], steps[-1] = -1, -size - 1, -1
    if not ask.has_input(1):
        everything = axes == list(range(len(axes))) and ask.choices.chance(0.3)
        ask.set(starts=starts, ends=ends, axes=None if everything else axes)
        return
    wide = DType.INT64 if max(ends) >= 1 << 31 or ask.choices.chance(0.8) else DType.INT32
    ask.ints(1, starts, dtype=wide)
    ask.ints(2, ends, dtype=wide)
    stated = ask.choices.chance(0.9) or axes != list(range(len(axes)))
    stepped = steps != [1] * len(steps) or ask.choices.chance(0.3)
    if stated:
        signed = [axis - array.ndim if ask.choices.chance(0.2) else axis for axis in axes]
        ask.ints(3, signed, dtype=wide)
    if stepped:
        ask.ints(4, steps, dtype=wide)


@TABLE("Gather", ranks={0: (1, 4)})
def gather(ask: Ask) -> None:
    """Indices of any sign and rank."""
    array = ask.data(0, ranks=(1, 4), empty=False)
    axis = ask.axis(array.ndim)
    ask.set(axis=axis if ask.choices.chance(0.8) or axis else None)
    size = array.shape[axis]
    shape = ask.choices.of(((), (1,), (2,), (2, 1), (0,)))
    numbers = np.array([ask.choices.integer(0 if ask.opset < 11 else -size, size - 1) for _ in range(math.prod(shape))])
    dtype = ask.dtype(1, {DType.INT64, DType.INT32})
    ask.need(1, numbers.reshape(shape).astype(dtype.numpy), "static")


@TABLE("GatherElements", keeps=True, ranks={0: (1, 4)})
def gather_elements(ask: Ask) -> None:
    """Indices of the rank of the data."""
    array = ask.data(0, ranks=(1, 4), empty=False)
    axis = ask.axis(array.ndim)
    ask.set(axis=axis)
    shape = [ask.choices.integer(1, size) for size in array.shape]
    _indices(ask, 1, shape, array.shape[axis])


def _indices(ask: Ask, index: int, shape: list[int], size: int) -> None:
    dtype = ask.dtype(index, {DType.INT64, DType.INT32})
    rng = np.random.default_rng(ask.choices.seed())
    ask.need(index, rng.integers(-size if ask.opset >= 11 else 0, size, shape).astype(dtype.numpy), "static")


@TABLE("GatherND", ranks={0: (1, 4)})
def gather_nd(ask: Ask) -> None:
    """Index tuples, with batch axes where the opset has them."""
    array = ask.data(0, ranks=(1, 4), empty=False)
    batch = (
        ask.choices.integer(0, array.ndim - 1)
        if "batch_dims" in ask.schema.attributes and ask.choices.chance(0.3)
        else 0
    )
    ask.set(batch_dims=batch if batch else None)
    depth = ask.choices.integer(1, array.ndim - batch)
    limit = min(array.shape[batch : batch + depth])
    rng = np.random.default_rng(ask.choices.seed())
    ask.need(
        1, rng.integers(0, limit, [*array.shape[:batch], ask.choices.of((1, 2)), depth]).astype(np.int64), "static"
    )


@TABLE("ScatterElements", "Scatter", keeps=True, ranks={0: (1, 4)})
def scatter_elements(ask: Ask) -> None:
    """Each place written once."""
    array = ask.data(0, ranks=(1, 4), empty=False)
    axis = ask.axis(array.ndim)
    ask.set(axis=axis)
    shape = [ask.choices.integer(1, size) for size in array.shape]
    dtype = ask.dtype(1, {DType.INT64, DType.INT32})
    along = [size if place == axis % array.ndim else 1 for place, size in enumerate(shape)]
    order = np.array(ask.choices.shuffled(range(array.shape[axis]))[: shape[axis]])
    ask.need(1, np.broadcast_to(order.reshape(along), shape).astype(dtype.numpy), "static")
    ask.need(2, ask.drawn(dtype_of(array), shape), "weight")
    if (
        "reduction" in ask.schema.attributes
        and dtype_of(array) not in (DType.BOOL, DType.STRING)
        and ask.choices.chance(0.3)
    ):
        ask.set(reduction=ask.choices.of(("add", "mul")))


@TABLE("ScatterND", keeps=True, ranks={0: (1, 4)})
def scatter_nd(ask: Ask) -> None:
    """Different rows along the first axis."""
    array = ask.data(0, ranks=(1, 4), empty=False)
    rows = ask.choices.some(range(array.shape[0]), 1)
    ask.need(1, np.array(rows, np.int64).reshape(-1, 1), "static")
    ask.need(2, ask.drawn(dtype_of(array), (len(rows), *array.shape[1:])), "weight")


@TABLE("Pad", keeps=True, ranks={0: (1, 5)})
def pad(ask: Ask) -> None:
    """Of any mode; sizes may be 0, and negative where values are constant."""
    array = ask.data(0, ranks=(1, 5), empty=False)
    mode = ask.choices.of(("constant", "constant", "constant", "constant", "reflect", "edge"))
    least = min(array.shape)
    most = 2 if mode != "reflect" else min(2, least - 1)
    if most < 0:
        raise ask.refuse("nothing to reflect")
    pads = [ask.choices.integer(0, most) for _ in range(2 * array.ndim)]
    if array.ndim > 2 and ask.choices.chance(0.6):
        pads = [0 if axis % array.ndim < array.ndim - 2 else size for axis, size in enumerate(pads)]
    if mode == "constant" and least > 1 and ask.choices.chance(0.1):
        pads[0] = -1
    ask.set(mode=mode if mode != "constant" or ask.choices.chance(0.5) else None)
    if "pads" in ask.schema.attributes:
        ask.set(pads=pads, value=ask.choices.of((0.0, 1.0, -math.inf)) if ask.choices.chance(0.4) else None)
        return
    ask.ints(1, pads)
    if ask.wants_optional(2, 0.5):
        dtype = dtype_of(array)
        ask.need(2, _filler(ask, dtype), "weight")
    if ask.has_input(3) and ask.choices.chance(0.2) and 3 not in ask.forms:
        ask.ints(3, list(range(array.ndim)))


def _filler(ask: Ask, dtype: DType) -> Array:
    """What fills the space: 0, another number, or the lowest there is."""
    if dtype is DType.STRING:
        return np.array("a", object)
    lowest = -math.inf if dtype.is_float else -(1 << dtype.bits - 1) if dtype.is_signed else 0
    return np.array(ask.choices.of((0, 1, lowest))).astype(dtype.numpy)


@TABLE("DepthToSpace", keeps=True, ranks={0: (4, 4)})
def depth_to_space(ask: Ask) -> None:
    """Blocks of 2."""
    ask.data(0, ranks=(4, 4), fits=lambda a: a.shape[1] % 4 == 0, shape=lambda _rank: (1, 4, 2, 3))
    ask.set(blocksize=2, mode=ask.choices.of((None, "DCR", "CRD")))


@TABLE("SpaceToDepth", keeps=True, ranks={0: (4, 4)})
def space_to_depth(ask: Ask) -> None:
    """Blocks of 2."""
    ask.data(0, ranks=(4, 4), fits=lambda a: a.shape[2] % 2 == a.shape[3] % 2 == 0, shape=lambda _rank: (1, 3, 2, 4))
    ask.set(blocksize=2)


@TABLE("Compress", ranks={0: (1, 4)})
def compress(ask: Ask) -> None:
    """Along an axis or of all elements."""
    array = ask.data(0, ranks=(1, 4), empty=False)
    axis = ask.axis(array.ndim) if ask.choices.chance(0.7) else None
    ask.set(axis=axis)
    size = array.size if axis is None else array.shape[axis]
    rng = np.random.default_rng(ask.choices.seed())
    ask.need(1, rng.integers(0, 2, ask.choices.integer(1, size)).astype(np.bool_), "weight")


@TABLE("ReverseSequence", keeps=True, ranks={0: (2, 4)})
def reverse_sequence(ask: Ask) -> None:
    """Time first or batch first."""
    array = ask.data(0, ranks=(2, 4), empty=False)
    batch = ask.choices.of((1, 0))
    ask.set(batch_axis=batch, time_axis=1 - batch)
    ask.ints(1, [ask.choices.integer(1, array.shape[1 - batch]) for _ in range(array.shape[batch])])


@TABLE("Trilu", keeps=True, ranks={0: (2, 4)})
def trilu(ask: Ask) -> None:
    """Either triangle, any diagonal."""
    ask.data(0, ranks=(2, 4), empty=False)
    ask.set(upper=ask.choices.of((None, 0, 1)))
    if ask.wants_optional(1, 0.5):
        ask.ints(1, ask.choices.integer(-2, 2))


@TABLE("CenterCropPad", keeps=True, ranks={0: (1, 4)})
def center_crop_pad(ask: Ask) -> None:
    """Smaller and larger."""
    array = ask.data(0, ranks=(1, 4), empty=False)
    ask.ints(1, [max(1, size + ask.choices.integer(-1, 2)) for size in array.shape])
