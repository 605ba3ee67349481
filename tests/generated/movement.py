"""Generated nodes that move data: shapes, slices, parts, copies, lookups, in the spelling of the opset."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from graphopt.ir import Array
from tests.generated.numbers import dtype_number, fill, tensor
from tests.generated.scope import Scope

__all__ = ["MOVES", "ints", "reshape_target"]

_ENDS = (1 << 63) - 1, (1 << 31) - 1, -(1 << 63), 1000, -1000


def _anything(array: Array) -> bool:
    return True


def _ranked(array: Array) -> bool:
    return array.ndim > 0


def ints(scope: Scope, numbers: list[int]) -> str:
    """A constant list of integers."""
    return scope.constant(np.array(numbers, np.int64))


def _axis(scope: Scope, rank: int) -> int:
    axis = scope.world.rng.randrange(rank)
    return axis - rank if scope.world.chance(0.4) and scope.world.opset >= 11 else axis


def _with_axes(scope: Scope, op: str, x: str, axes: list[int] | None) -> str | None:
    """An operator whose axes are an attribute in some opsets and an input in others."""
    if axes is None:
        return scope.one(op, [x])
    if scope.world.has_attribute(op, "axes"):
        return scope.one(op, [x], axes=axes or None)
    return scope.one(op, [x, ints(scope, axes)])


def reshape_target(scope: Scope, shape: tuple[int, ...]) -> list[int]:
    """Sizes of as many elements, with 0 and -1 among them."""
    rng = scope.world.rng
    count, target = math.prod(shape), list(shape)
    rng_choice = rng.random()
    if count and rng_choice < 0.6:
        target, rest = [], count
        while rest > 1:
            factor = rng.choice([d for d in range(2, rest + 1) if rest % d == 0])
            target.append(factor)
            rest //= factor
        for _ in range(rng.randint(0, 2)):
            target.insert(rng.randint(0, len(target)), 1)
    elif rng_choice < 0.75:
        target = [count]
    for place in range(min(len(target), len(shape))):
        if target[place] == shape[place] and rng.random() < 0.4:
            target[place] = 0
    if target and rng.random() < 0.5:
        target[rng.randrange(len(target))] = -1
    return target


def reshape(scope: Scope) -> object:
    """One or two Reshapes with constant targets."""
    x = scope.pick(_anything)
    for _ in range(scope.world.rng.randint(1, 2)):
        if x is None:
            return None
        target = reshape_target(scope, scope.arrays[x].shape)
        literal = 1 if scope.world.opset >= 14 and scope.world.chance(0.15) else None
        x = scope.one("Reshape", [x, ints(scope, target)], allowzero=literal)
    return x


def squeeze(scope: Scope) -> object:
    """Squeeze and Unsqueeze, several in a row, that may undo each other."""
    rng = scope.world.rng
    x = scope.pick(_anything)
    for _ in range(rng.randint(1, 3)):
        if x is None:
            return None
        shape = scope.arrays[x].shape
        ones = [axis for axis, size in enumerate(shape) if size == 1]
        if ones and rng.random() < 0.5:
            axes = rng.sample(ones, rng.randint(1, len(ones)))
            axes = [axis - len(shape) if rng.random() < 0.4 and scope.world.opset >= 11 else axis for axis in axes]
            choice = rng.random()
            x = _with_axes(scope, "Squeeze", x, None if choice < 0.2 else [] if choice < 0.25 else axes)
        elif len(shape) < 5:
            count = rng.randint(1, 2)
            rank = len(shape) + count
            axes = rng.sample(range(rank), count)
            axes = [axis - rank if rng.random() < 0.4 and scope.world.opset >= 11 else axis for axis in axes]
            x = _with_axes(scope, "Unsqueeze", x, axes)
    return x


def transpose(scope: Scope) -> object:
    """One to three Transposes in a row."""
    rng = scope.world.rng
    x = scope.pick(_anything)
    for _ in range(rng.randint(1, 3)):
        if x is None:
            return None
        order = list(range(scope.arrays[x].ndim))
        if rng.random() < 0.8:
            rng.shuffle(order)
        x = scope.one("Transpose", [x], perm=None if rng.random() < 0.3 or not order else order)
    return x


def flatten(scope: Scope) -> object:
    """Flatten at any axis."""
    x = scope.pick(_anything)
    if x is None:
        return None
    rank = scope.arrays[x].ndim
    axis = scope.world.rng.randint(-rank if scope.world.opset >= 11 else 0, rank)
    return scope.one("Flatten", [x], axis=None if scope.world.chance(0.3) else axis)


def slice_(scope: Scope) -> object:
    """One or two Slices, with bounds far out, steps and negative axes."""
    rng = scope.world.rng
    x = scope.pick(_ranked)
    for _ in range(rng.randint(1, 2)):
        if x is None or not scope.arrays[x].ndim:
            return None
        shape = scope.arrays[x].shape
        axes = rng.sample(range(len(shape)), rng.randint(1, len(shape)))
        starts, ends, steps = [], [], []
        for axis in axes:
            size = shape[axis]
            takes_all = rng.random() < 0.45
            step = (
                1
                if takes_all or scope.world.opset < 10 or rng.random() < 0.7
                else rng.choice((2, -1, -2, 3, -(1 << 63)))
            )
            start = rng.choice((0, 0, -size, -1000)) if takes_all else rng.randint(-size - 1, size + 1)
            end = rng.choice((size, *_ENDS[:2])) if takes_all else rng.choice((*_ENDS, *range(-size - 1, size + 2)))
            if step < 0 and rng.random() < 0.6:
                start, end = rng.choice((-1, size, _ENDS[0])), rng.choice((_ENDS[2], -size - 1))
            starts.append(start)
            ends.append(end)
            steps.append(step)
        axes = [axis - len(shape) if rng.random() < 0.3 and scope.world.opset >= 10 else axis for axis in axes]
        if scope.world.has_attribute("Slice", "axes"):
            x = scope.one("Slice", [x], axes=axes, starts=starts, ends=ends)
            continue
        stated: list[str | None] = (
            [ints(scope, axes)] if axes != list(range(len(axes))) or rng.random() < 0.6 else [None]
        )
        stated += [ints(scope, steps)] if set(steps) != {1} or rng.random() < 0.4 else [None]
        x = scope.one("Slice", [x, ints(scope, starts), ints(scope, ends), *stated])
    return x


def concat(scope: Scope) -> object:
    """Concat of values, constants and empty tensors; nested now and then."""
    rng = scope.world.rng
    x = scope.pick(_ranked)
    if x is None:
        return None
    like = scope.arrays[x]
    if not like.size and not scope.world.static:
        return None  # ONNX Runtime takes empty parts whatever their other sizes
    axis = _axis(scope, like.ndim)
    parts = [x]
    for _ in range(rng.randint(0, 2)):
        shape = list(like.shape)
        shape[axis] = rng.choice((0, 1, 2) if scope.world.static else (1, 2))
        parts.append(
            x if rng.random() < 0.3 else scope.constant(tensor(rng, dtype_number(like), shape, wild=scope.world.wild))
        )
    rng.shuffle(parts)
    found = scope.one("Concat", parts, axis=axis)
    if found and rng.random() < 0.4:
        more = [found, rng.choice(parts)]
        rng.shuffle(more)
        return scope.one("Concat", more, axis=axis)
    return found


def split(scope: Scope) -> object:
    """Split in stated, equal or unequal parts; joined again now and then."""
    rng = scope.world.rng
    x = scope.pick(_ranked)
    if x is None:
        return None
    shape = scope.arrays[x].shape
    axis = _axis(scope, len(shape))
    count = rng.randint(1, 3)
    cuts = sorted(rng.randint(0, shape[axis]) for _ in range(count - 1))
    sizes = [b - a for a, b in zip([0, *cuts], [*cuts, shape[axis]], strict=True)]
    even = rng.random() < 0.4
    if scope.world.has_attribute("Split", "split"):
        parts = scope.node("Split", [x], outputs=count, axis=axis, split=None if even else sizes)
    else:
        number = count if even and scope.world.opset >= 18 else None
        parts = scope.node(
            "Split", [x, None if even else ints(scope, sizes)], outputs=count, axis=axis, num_outputs=number
        )
    if parts and rng.random() < 0.5:
        if rng.random() < 0.3:
            rng.shuffle(parts)
        return scope.one("Concat", parts, axis=axis)
    return parts


def concat_then_split(scope: Scope) -> object:
    """Split of a Concat, along its axis, mostly where its parts meet."""
    rng = scope.world.rng
    x = scope.pick(_ranked)
    if x is None:
        return None
    like = scope.arrays[x]
    if not like.size and not scope.world.static:
        return None
    axis = rng.randrange(like.ndim)
    shape = list(like.shape)
    shape[axis] = rng.choice((1, 2))
    other = scope.constant(tensor(rng, dtype_number(like), shape, wild=False))
    joined = scope.one("Concat", [x, other], axis=axis)
    sizes = [like.shape[axis], shape[axis]]
    if rng.random() < 0.3:
        sizes.reverse()
    if joined is None:
        return None
    if scope.world.has_attribute("Split", "split"):
        return scope.node("Split", [joined], outputs=2, axis=axis, split=sizes)
    return scope.node("Split", [joined, ints(scope, sizes)], outputs=2, axis=axis)


def expand(scope: Scope) -> object:
    """Expand and Tile, often to what is there."""
    rng = scope.world.rng
    x = scope.pick(_anything)
    if x is None:
        return None
    shape = scope.arrays[x].shape
    if rng.random() < 0.5:
        target = [rng.choice((1, size)) if size != 1 else rng.choice((1, 1, 2)) for size in shape]
        target = target[rng.randint(0, len(target)) :] if rng.random() < 0.3 else target
        if rng.random() < 0.2:
            target = [rng.choice((1, 2)), *target]
        return scope.one("Expand", [x, ints(scope, target)])
    return scope.one("Tile", [x, ints(scope, [rng.choice((1, 1, 1, 2, 0)) for _ in shape])])


def pad(scope: Scope) -> object:
    """Pad in every mode; cutting, and with no pads at all, too."""
    rng = scope.world.rng
    x = scope.pick(_ranked)
    if x is None:
        return None
    like = scope.arrays[x]
    half = 2 * like.ndim
    pads = [0] * half if rng.random() < 0.3 else [rng.choice((0, 0, 1, 2, -1)) for _ in range(half)]
    mode = rng.choice(("constant", "constant", "reflect", "edge"))
    if scope.world.has_attribute("Pad", "pads"):
        return scope.one("Pad", [x], pads=pads, mode=mode, value=rng.choice((None, 1.0)))
    number = (
        scope.constant(fill(dtype_number(like), (), rng.choice((0.0, 1.0))))
        if rng.random() < 0.5 and like.dtype != object
        else None
    )
    axes = None
    if scope.world.opset >= 18 and rng.random() < 0.4:
        kept = rng.sample(range(like.ndim), rng.randint(1, like.ndim))
        pads = [pads[i] for i in range(2 * len(kept))]
        axes = ints(scope, [axis - like.ndim if rng.random() < 0.4 else axis for axis in kept])
    return scope.one("Pad", [x, ints(scope, pads), number, axes], mode=mode)


def gather(scope: Scope) -> object:
    """Lookups of constant places."""
    rng = scope.world.rng
    x = scope.pick(_ranked)
    if x is None:
        return None
    shape = scope.arrays[x].shape
    axis = rng.randrange(len(shape))
    if not shape[axis]:
        return None
    low = -shape[axis] if scope.world.opset >= 11 else 0
    op = rng.choice(("Gather", "Gather", "GatherElements"))
    places = shape if op == "GatherElements" else tuple(rng.randint(0, 2) for _ in range(rng.randint(0, 2)))
    numbers = [rng.randrange(low, shape[axis]) for _ in range(math.prod(places))]
    dtype = rng.choice((np.int64, np.int32))
    return scope.one(op, [x, scope.constant(np.array(numbers, dtype).reshape(places))], axis=axis)


def other(scope: Scope) -> object:
    """Operators that no rewrite knows."""
    rng = scope.world.rng
    x = scope.pick(_ranked)
    if x is None:
        return None
    match rng.randrange(7):
        case 0:
            return scope.one(
                "CumSum",
                [x, scope.constant(np.array(rng.randrange(scope.arrays[x].ndim), np.int32))],
                reverse=rng.choice((0, 1)),
            )
        case 1:
            return scope.one("Trilu", [x], upper=rng.choice((0, 1)))
        case 2:
            count = ints(scope, [rng.randint(0, 2)])
            if scope.world.opset < 10:
                return None
            return scope.node(
                "TopK",
                [x, count],
                outputs=2,
                axis=rng.choice((0, -1)),
                largest=rng.choice((None, 0)) if scope.world.opset >= 11 else None,
            )
        case 3:
            return scope.one("NonZero", [x])
        case 4:
            return scope.one("DepthToSpace", [x], blocksize=1)
        case 5:
            values = scope.constant(tensor(rng, scope.dtype(x), (2,), wild=False))
            return scope.one("OneHot", [x, scope.constant(np.array(3, np.int64)), values], axis=rng.choice((0, -1)))
        case _:
            shape = scope.arrays[x].shape
            if len(shape) < 2 or 0 in shape or scope.world.opset < 10:
                return None
            return scope.one(
                "ReverseSequence",
                [x, ints(scope, [rng.randint(1, shape[0]) for _ in range(shape[1])])],
                batch_axis=1,
                time_axis=0,
            )


def resize(scope: Scope) -> object:
    """Resize to the same size or another one."""
    rng = scope.world.rng
    x = scope.pick(lambda a: a.ndim in (3, 4) and a.dtype == np.float32 and a.size > 0)
    if x is None:
        return None
    shape = scope.arrays[x].shape
    scales = np.array([rng.choice((1.0, 1.0, 2.0)) if axis >= 2 else 1.0 for axis in range(len(shape))], np.float32)
    mode = rng.choice(("nearest", "nearest", "linear"))
    if scope.world.opset < 9:
        return scope.one("Upsample", [x], mode=mode, scales=scales.tolist())
    if scope.world.opset < 10:
        return scope.one("Upsample", [x, scope.constant(scales)], mode=mode)
    if scope.world.opset < 11:
        return scope.one("Resize", [x, scope.constant(scales)], mode=mode)
    how = rng.choice(
        (None, "asymmetric", "align_corners", "pytorch_half_pixel", "tf_half_pixel_for_nn", "tf_crop_and_resize")
    )
    nearest = rng.choice((None, "floor", "ceil", "round_prefer_ceil")) if mode == "nearest" else None
    roi = scope.constant(np.array([0.0] * len(shape) + [rng.choice((1.0, 0.5))] * len(shape), np.float32))
    if rng.random() < 0.5:
        return scope.one(
            "Resize",
            [x, roi, scope.constant(scales)],
            mode=mode,
            coordinate_transformation_mode=how,
            nearest_mode=nearest,
        )
    empty = scope.constant(np.zeros(0, np.float32)) if scope.world.opset < 13 else None
    sizes = ints(scope, [int(size * scale) for size, scale in zip(shape, scales, strict=True)])
    return scope.one(
        "Resize", [x, roi, empty, sizes], mode=mode, coordinate_transformation_mode=how, nearest_mode=nearest
    )


MOVES: dict[Callable[[Scope], object], int] = {
    reshape: 4, squeeze: 4, transpose: 4, flatten: 2, slice_: 5, concat: 4, split: 3, concat_then_split: 1, expand: 3, pad: 3, gather: 3,
    other: 2, resize: 2,
}  # fmt: skip
