"""Shape arithmetic as exporters write it: sizes taken out, computed with, put together, and used to reshape, slice, tile or count."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from graphopt.ir import Array, DType
from graphopt.testing.strategies.scope import RefusedError, Scope, dtype_of

__all__ = ["MOTIFS", "ints"]


def ints(scope: Scope, numbers: list[int] | int) -> str:
    """A constant of int64."""
    return scope.constant(np.array(numbers, np.int64))


def _tensor(scope: Scope, fits: Callable[[Array], bool] = lambda array: True) -> str:
    """A value that fits, or an input of floats that does."""
    found = scope.pick(fits)
    if found is None:
        found = scope.input(np.arange(12, dtype=np.float32).reshape(2, 3, 2))
    if found is None or not fits(scope.arrays[found]):
        raise RefusedError("no value fits")
    return found


def _entry(scope: Scope, shape: str, axis: int) -> str:
    """One size out of a shape, as a list of one element, by one of several ways."""
    choices, world = scope.choices, scope.world
    rank = scope.arrays[shape].size
    place = axis - rank if world.opset >= 11 and choices.chance(0.3) else axis
    form = choices.integer(0, 3)
    if form <= 1:
        index = np.array(place, np.int32 if choices.chance(0.3) else np.int64)
        single = scope.one("Gather", [shape, scope.constant(index)], axis=0)
        if choices.chance(0.3):
            single = _detour(scope, single)
        if world.has_attribute("Unsqueeze", "axes"):
            return scope.one("Unsqueeze", [single], axes=[0])
        return scope.one("Unsqueeze", [single, ints(scope, [choices.of((0, -1))])])
    if form == 2:
        found = scope.one("Gather", [shape, ints(scope, [place])], axis=0)
    elif world.has_attribute("Slice", "starts"):
        found = scope.one("Slice", [shape], starts=[axis], ends=[axis + 1], axes=[0])
    else:
        found = scope.one("Slice", [shape, ints(scope, [axis]), ints(scope, [axis + 1]), ints(scope, [0])])
    return _detour(scope, found) if choices.chance(0.3) else found


def _detour(scope: Scope, number: str) -> str:
    """Arithmetic on a size that mostly comes back to it."""
    choices, opset = scope.choices, scope.world.opset
    like = scope.arrays[number]

    def constant(what: int) -> str:
        return scope.constant(np.full((1,) if like.ndim and choices.chance(0.5) else (), what, like.dtype))

    form = choices.integer(0, 7)
    if form == 0:
        return scope.one("Div", [scope.one("Mul", [number, constant(2)]), constant(2)])
    if form == 1:
        return scope.one("Sub", [scope.one("Add", [number, constant(3)]), constant(3)])
    if form == 2:
        return scope.one("Cast", [scope.one("Cast", [number], to=choices.of((1, 6, 11)))], to=7)
    if form == 3 and opset >= 12:
        return scope.one(choices.of(("Max", "Min")), [number, constant(1)])
    if form == 4:
        return scope.one("Mul", [scope.one("Div", [number, constant(2)]), constant(2)])
    if form == 5 and opset >= 10:
        return scope.one("Add", [scope.one("Mod", [number, constant(2)]), number])
    if form == 6 and opset >= 9:
        test = scope.one("Equal", [number, constant(choices.of((-1, 1, 2)))])
        return scope.one("Where", [test, constant(choices.of((1, -1))), number])
    return scope.one("Sub", [constant(0), scope.one("Sub", [constant(0), number])])


def computed_shape(scope: Scope) -> None:
    """A shape taken apart and put together, then used."""
    choices = scope.choices
    x = _tensor(scope, lambda a: 0 < a.ndim < 5)
    array = scope.arrays[x]
    shape = scope.one("Shape", [x])
    axes = choices.shuffled(range(array.ndim)) if choices.chance(0.3) else list(range(array.ndim))
    parts = []
    for axis in axes:
        if choices.chance(0.4):
            parts.append(ints(scope, [choices.of((array.shape[axis], array.shape[axis], -1, 0, 1))]))
        else:
            parts.append(_entry(scope, shape, axis))
    if choices.chance(0.3):
        parts.insert(choices.integer(0, len(parts)), ints(scope, [choices.of((1, -1))]))
    if len(parts) > 1 and choices.chance(0.3):
        parts[:2] = [scope.one("Mul", parts[:2])]
    _use(scope, scope.one("Concat", parts, axis=0), x)


def _use(scope: Scope, target: str, x: str) -> None:
    choices, opset = scope.choices, scope.world.opset
    y = x if choices.chance(0.6) else _tensor(scope)
    form = choices.integer(0, 5)
    if form == 3 and opset >= 8:
        scope.one("Expand", [y, target])
    elif form == 4 and opset >= 9:
        made = scope.one("ConstantOfShape", [target])
        if choices.chance(0.5):
            scope.one("Add", [made, y])
    elif form == 5:
        scope.one("Tile", [y, target])
    else:
        scope.one("Reshape", [y, target])


def slice_by_size(scope: Scope) -> None:
    """Slice to the size of an axis, of the same value or another one."""
    choices = scope.choices
    if scope.world.opset < 10:
        raise RefusedError("bounds are attributes")
    x = _tensor(scope, lambda a: a.ndim > 0)
    y = x if choices.chance(0.6) else _tensor(scope, lambda a: a.ndim > 0)
    end = _entry(scope, scope.one("Shape", [y]), choices.integer(0, scope.arrays[y].ndim - 1))
    rank = scope.arrays[x].ndim
    step = [ints(scope, [choices.of((1, 2, -1))])] if choices.chance(0.3) else []
    scope.one(
        "Slice", [x, ints(scope, [choices.of((0, 1, -1))]), end, ints(scope, [choices.integer(-rank, rank - 1)]), *step]
    )


def range_to_size(scope: Scope) -> None:
    """Positions up to a size, compared and used as a mask."""
    choices = scope.choices
    if scope.world.opset < 11:
        raise RefusedError("no Range yet")
    x = _tensor(scope, lambda a: a.ndim > 0 and dtype_of(a) is DType.FLOAT)
    axis = choices.integer(0, scope.arrays[x].ndim - 1)
    size = scope.one("Gather", [scope.one("Shape", [x]), ints(scope, axis)], axis=0)
    positions = scope.one("Range", [ints(scope, 0), size, ints(scope, choices.of((1, 2)))])
    if axis == scope.arrays[x].ndim - 1 and choices.chance(0.6):
        mask = scope.one("Less", [positions, ints(scope, choices.of((1, 2)))])
        scope.one("Where", [mask, x, scope.constant(np.array(choices.of((0.0, -1e9)), np.float32))])


def flatten_by_size(scope: Scope) -> None:
    """Reshape to the batch size and the rest, as flattening heads do."""
    x = _tensor(scope, lambda a: a.ndim > 1)
    first = _entry(scope, scope.one("Shape", [x]), 0)
    scope.one("Reshape", [x, scope.one("Concat", [first, ints(scope, [-1])], axis=0)])


MOTIFS: list[tuple[Callable[[Scope], object], int]] = [
    (computed_shape, 4),
    (slice_by_size, 2),
    (range_to_size, 1),
    (flatten_by_size, 2),
]
