"""Generated shape arithmetic: Shape, Size, Gather, Slice, arithmetic, Concat, and what takes the result: Reshape, Expand, Slice, Tile."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from graphopt.ir import Array
from tests.generated.movement import ints
from tests.generated.numbers import fill
from tests.generated.scope import Scope

__all__ = ["MOVES"]


def _anything(array: Array) -> bool:
    return True


def _is_list(array: Array) -> bool:
    return array.dtype == np.int64 and array.ndim == 1 and array.size <= 6


def shape_of(scope: Scope) -> object:
    """Shape of a value, in part now and then, or its Size."""
    rng = scope.world.rng
    x = scope.pick(_anything)
    if x is None:
        return None
    if rng.random() < 0.2:
        return scope.one("Size", [x])
    rank = scope.arrays[x].ndim
    if scope.world.opset >= 15 and rng.random() < 0.4:
        return scope.one(
            "Shape",
            [x],
            start=rng.randint(-rank - 1, rank + 1),
            end=rng.choice((None, rng.randint(-rank - 1, rank + 1))),
        )
    return scope.one("Shape", [x])


def _entry(scope: Scope, shape: str, axis: int) -> str | None:
    """One size out of a shape, as a list of one element, by one of several ways."""
    rng = scope.world.rng
    rank = scope.arrays[shape].size
    place = axis - rank if rng.random() < 0.3 and scope.world.opset >= 11 else axis
    choice = rng.random()
    if choice < 0.4:
        single = scope.one("Gather", [shape, scope.constant(np.array(place, rng.choice((np.int64, np.int32))))], axis=0)
        if single and rng.random() < 0.3:
            single = _detour(scope, single)
        if single is None:
            return None
        if scope.world.has_attribute("Unsqueeze", "axes"):
            return scope.one("Unsqueeze", [single], axes=[0])
        return scope.one("Unsqueeze", [single, ints(scope, [rng.choice((0, -1))])])
    if choice < 0.7:
        found = scope.one("Gather", [shape, ints(scope, [place])], axis=0)
    elif scope.world.has_attribute("Slice", "starts"):
        found = scope.one("Slice", [shape], starts=[axis], ends=[axis + 1], axes=[0])
    else:
        found = scope.one("Slice", [shape, ints(scope, [axis]), ints(scope, [axis + 1]), ints(scope, [0])])
    return _detour(scope, found) if found and rng.random() < 0.3 else found


def _detour(scope: Scope, number: str) -> str | None:
    """Arithmetic on a size that mostly comes back to it."""
    rng = scope.world.rng
    like = scope.arrays[number]

    def constant(what: int) -> str:
        return scope.constant(np.full(rng.choice(((), (1,))) if like.ndim else (), what, like.dtype))

    match rng.randrange(8):
        case 0:
            doubled = scope.one("Mul", [number, constant(2)])
            return scope.one("Div", [doubled, constant(2)]) if doubled else None
        case 1:
            more = scope.one("Add", [number, constant(3)])
            return scope.one("Sub", [more, constant(3)]) if more else None
        case 2:
            cast = scope.one("Cast", [number], to=rng.choice((1, 6, 11)))
            return scope.one("Cast", [cast], to=7) if cast else None
        case 3:
            return scope.one("Max", [number, constant(1)]) if scope.world.opset >= 12 else number
        case 4:
            half = scope.one("Div", [number, constant(2)])
            return scope.one("Mul", [half, constant(2)]) if half else None
        case 5:
            rest = scope.one("Mod", [number, constant(2)]) if scope.world.opset >= 10 else None
            return scope.one("Add", [rest, number]) if rest else None
        case 6:
            negative = scope.one("Sub", [constant(0), number])
            return scope.one("Sub", [constant(0), negative]) if negative else None
        case _:
            test = scope.one("Equal", [number, constant(rng.choice((-1, 1, 2)))])
            return (
                scope.one("Where", [test, constant(rng.choice((1, -1))), number])
                if test and scope.world.opset >= 9
                else number
            )


def computed_shape(scope: Scope) -> object:
    """A shape taken apart and put together, then used for Reshape, Expand, Tile or ConstantOfShape."""
    rng = scope.world.rng
    x = scope.pick(lambda a: 0 < a.ndim < 5)
    if x is None:
        return None
    array = scope.arrays[x]
    shape = scope.one("Shape", [x])
    if shape is None:
        return None
    parts: list[str] = []
    axes = list(range(array.ndim))
    if rng.random() < 0.3:
        rng.shuffle(axes)
    for axis in axes:
        if rng.random() < 0.4:
            parts.append(ints(scope, [rng.choice((array.shape[axis], array.shape[axis], -1, 0, 1))]))
        elif (found := _entry(scope, shape, axis)) is not None:
            parts.append(found)
    if rng.random() < 0.3:
        parts.insert(rng.randint(0, len(parts)), ints(scope, [rng.choice((1, -1))]))
    if rng.random() < 0.3 and len(parts) > 1:
        product = scope.one("Mul", parts[:2])
        parts[:2] = [product] if product else []
    if not parts:
        return None
    target = scope.one("Concat", parts, axis=0)
    return None if target is None else _use(scope, target, x)


def _use(scope: Scope, target: str, x: str) -> object:
    rng = scope.world.rng
    y = x if rng.random() < 0.6 else scope.pick(_anything)
    match rng.randrange(6):
        case 0 | 1 | 2:
            literal = 1 if scope.world.static and scope.world.opset >= 14 and rng.random() < 0.1 else None
            return scope.one("Reshape", [y, target], allowzero=literal)
        case 3:
            return scope.one("Expand", [y, target])
        case 4:
            made = scope.one("ConstantOfShape", [target]) if scope.world.opset >= 9 else None
            return scope.one("Add", [made, y]) if made and rng.random() < 0.5 else made
        case _:
            return scope.one("Tile", [y, target])


def use_list(scope: Scope) -> object:
    """Any short list of integers as a shape."""
    target, x = scope.pick(_is_list), scope.pick(_anything)
    return None if target is None or x is None else _use(scope, target, x)


def slice_by_size(scope: Scope) -> object:
    """Slice to the size of an axis, of the same value or another one."""
    rng = scope.world.rng
    x = scope.pick(lambda a: a.ndim > 0)
    if x is None or scope.world.opset < 10:
        return None
    y = x if rng.random() < 0.6 else scope.pick(lambda a: a.ndim > 0)
    shape = scope.one("Shape", [y]) if y else None
    if shape is None or y is None:
        return None
    end = _entry(scope, shape, rng.randrange(scope.arrays[y].ndim))
    if end is None:
        return None
    rank = scope.arrays[x].ndim
    axis = rng.randrange(-rank, rank)
    step = [ints(scope, [rng.choice((1, 1, 2, -1))])] if rng.random() < 0.3 else []
    return scope.one("Slice", [x, ints(scope, [rng.choice((0, 0, 1, -1))]), end, ints(scope, [axis]), *step])


def range_(scope: Scope) -> object:
    """Range up to a size."""
    rng = scope.world.rng
    if scope.world.opset < 11:
        return None
    limit = scope.pick(lambda a: a.dtype == np.int64 and a.ndim == 0 and abs(int(a)) < 50)
    if limit is None:
        return None
    return scope.one(
        "Range",
        [
            scope.constant(np.array(rng.choice((0, 1, -2)), np.int64)),
            limit,
            scope.constant(np.array(rng.choice((1, 2, -1)), np.int64)),
        ],
    )


def filled(scope: Scope) -> object:
    """ConstantOfShape of a constant shape, any element type."""
    rng = scope.world.rng
    if scope.world.opset < 9:
        return None
    sizes = [rng.choice((1, 2, 3, 0)) for _ in range(rng.randint(0, 3))]
    from tests.generated.scope import tensor_proto

    number = rng.choice((1, 7, 6, 9, 10, 11, 2))
    stated = tensor_proto(fill(number, (1,), rng.choice((0.0, 1.0, 2.0)))) if rng.random() < 0.7 else None
    return scope.one("ConstantOfShape", [ints(scope, sizes)], value=stated)


def reduce_list(scope: Scope) -> object:
    """Products and sums of sizes."""
    rng = scope.world.rng
    x = scope.pick(_is_list)
    if x is None or math.prod(scope.arrays[x].shape) == 0:
        return None
    return scope.one(
        rng.choice(("ReduceProd", "ReduceSum", "ReduceMax", "ReduceMin")), [x], keepdims=rng.choice((None, 0, 1))
    )


MOVES: dict[Callable[[Scope], object], int] = {
    shape_of: 3,
    computed_shape: 5,
    use_list: 3,
    slice_by_size: 3,
    range_: 2,
    filled: 2,
    reduce_list: 1,
}
