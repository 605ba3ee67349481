"""Layers that move numbers: constants, shapes, shuffles, slices, joins, fills."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from graphopt.ir import Array
from graphopt.testing.tensorrt.kernels.arithmetic import name_of
from graphopt.testing.tensorrt.reading import Item, constant_of, numpy_dtype

if TYPE_CHECKING:
    from graphopt.testing.tensorrt.evaluator import Evaluation

__all__ = ["KERNELS"]


def _constant(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    found = constant_of(item, made.stored)
    if found is None:
        from graphopt.testing.tensorrt.evaluator import NotEvaluated

        raise NotEvaluated(f"{item!r}: its numbers can't be read back")
    return found.astype(numpy_dtype(made.api, item.layer.get_output(0).dtype))


def _shape(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    return np.array(given[0].shape, numpy_dtype(made.api, item.layer.get_output(0).dtype))


def _shuffle(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    x, layer = given[0], item.layer
    found = np.transpose(x, tuple(layer.first_transpose)[: x.ndim])
    if len(given) > 1 and given[1] is not None:
        target: list[int] | None = [int(size) for size in given[1]]
    else:
        target = _reshape_dims(layer)
    if target is not None:
        if layer.zero_is_placeholder:
            target = [
                found.shape[place] if size == 0 and place < found.ndim else size for place, size in enumerate(target)
            ]
        found = found.reshape(target)
    return np.ascontiguousarray(np.transpose(found, tuple(layer.second_transpose)[: found.ndim])).reshape(
        [found.shape[axis] for axis in tuple(layer.second_transpose)[: found.ndim]]
    )


def _reshape_dims(layer: Any) -> list[int] | None:  # noqa: ANN401  IShuffleLayer
    try:
        dims = layer.reshape_dims
        found = None if dims is None else [int(size) for size in dims]
    except (TypeError, ValueError):  # no shape was set
        return None
    if found is not None and layer.get_output(0) is not None and len(found) != len(layer.get_output(0).shape):
        return None
    return found


def _squeeze(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    return np.asarray(np.squeeze(given[0], tuple(int(axis) for axis in given[1].reshape(-1))))


def _unsqueeze(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    return np.expand_dims(given[0], tuple(int(axis) for axis in given[1].reshape(-1)))


def _concatenation(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    return np.concatenate(list(given), int(item.layer.axis))


def _numbers(layer: Any, given: Sequence[Any], place: int, stated: Any) -> list[int]:  # noqa: ANN401
    if len(given) > place and given[place] is not None:
        return [int(item) for item in given[place].reshape(-1)]
    return [int(item) for item in stated]


def _slice(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    x, layer = given[0], item.layer
    start = _numbers(layer, given, 1, layer.start or ())
    size = _numbers(layer, given, 2, layer.shape or ())
    stride = _numbers(layer, given, 3, layer.stride or ())
    axes = [int(axis) % x.ndim for axis in _numbers(layer, given, 5, getattr(layer, "axes", None) or ())]
    if axes:
        start, size, stride = (
            _spread(numbers, axes, rest)
            for numbers, rest in ((start, [0] * x.ndim), (size, list(x.shape)), (stride, [1] * x.ndim))
        )
    mode = name_of(layer.mode)
    fill = given[4].reshape(-1)[0] if len(given) > 4 and given[4] is not None else np.zeros((), x.dtype)
    found, outside = x, np.zeros((1,) * x.ndim, bool)
    for axis in range(x.ndim):
        places = start[axis] + stride[axis] * np.arange(size[axis])
        length = x.shape[axis]
        beyond = (places < 0) | (places >= length)
        if mode == "STRICT_BOUNDS":
            assert not beyond.any(), f"{item!r}: places outside of axis {axis}"
        elif mode == "WRAP":
            places = places % max(length, 1)
        elif mode == "CLAMP":
            places = np.clip(places, 0, length - 1)
        elif mode == "REFLECT":
            period = max(2 * (length - 1), 1)
            places = np.abs((places + length - 1) % period - (length - 1)) if length > 1 else np.zeros_like(places)
        else:
            outside = outside | beyond.reshape([-1 if place == axis else 1 for place in range(x.ndim)])
            places = np.where(beyond, 0, places)
        if not length and places.size:
            found = np.zeros([*found.shape[:axis], places.size, *found.shape[axis + 1 :]], x.dtype)
        else:
            found = np.take(found, places, axis)
    return np.where(outside, fill, found).astype(x.dtype) if mode == "FILL" else found


def _spread(numbers: list[int], axes: list[int], rest: list[int]) -> list[int]:
    for axis, number in zip(axes, numbers, strict=True):
        rest[axis] = number
    return rest


def _fill(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    layer = item.layer
    dtype = numpy_dtype(made.api, layer.get_output(0).dtype)
    shape = _numbers(layer, given, 0, layer.shape or ())
    if name_of(layer.operation) != "LINSPACE":
        from graphopt.testing.tensorrt.evaluator import NotEvaluated

        raise NotEvaluated(f"{item!r}: random numbers")
    start = given[1] if len(given) > 1 and given[1] is not None else np.array(layer.alpha)
    delta = given[2] if len(given) > 2 and given[2] is not None else np.array(layer.beta)
    total = np.zeros(shape, np.float64 if dtype.kind == "f" else np.int64) + start
    for axis, step in enumerate(np.asarray(delta).reshape(-1)):
        places = np.arange(shape[axis]).reshape([-1 if place == axis else 1 for place in range(len(shape))])
        total = total + places * step
    return np.asarray(total.astype(dtype))


KERNELS: Final[dict[str, Any]] = {
    "CONCATENATION": _concatenation,
    "CONSTANT": _constant,
    "FILL": _fill,
    "SHAPE": _shape,
    "SHUFFLE": _shuffle,
    "SLICE": _slice,
    "SQUEEZE": _squeeze,
    "UNSQUEEZE": _unsqueeze,
}
