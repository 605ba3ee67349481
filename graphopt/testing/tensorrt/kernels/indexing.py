"""Layers that pick and put numbers by indices, and that rank them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from graphopt.ir import Array
from graphopt.testing.tensorrt.kernels.arithmetic import name_of
from graphopt.testing.tensorrt.reading import Item, numpy_dtype

if TYPE_CHECKING:
    from graphopt.testing.tensorrt.evaluator import Evaluation

__all__ = ["KERNELS"]


def _gather(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    x, indices = given
    layer = item.layer
    mode, axis = name_of(layer.mode), int(layer.axis)
    batch = int(layer.num_elementwise_dims)
    assert indices.size == 0 or int(indices.min()) >= 0, f"{item!r}: negative indices"
    if mode == "ELEMENT":
        return np.take_along_axis(x, indices.astype(np.int64), axis)
    if mode == "ND":
        return _gather_nd(x, indices.astype(np.int64), batch)
    if not batch:
        return np.asarray(np.take(x, indices.astype(np.int64), axis))
    shape = x.shape[:batch]
    parts = [np.take(x[place], indices[place].astype(np.int64), axis - batch) for place in np.ndindex(*shape)]
    return np.stack(parts).reshape(*shape, *parts[0].shape)


def _gather_nd(x: Array, indices: Array, batch: int) -> Array:
    if not batch:
        return np.asarray(x[tuple(np.moveaxis(indices, -1, 0))])
    shape = x.shape[:batch]
    parts = [np.asarray(x[place][tuple(np.moveaxis(indices[place], -1, 0))]) for place in np.ndindex(*shape)]
    return np.stack(parts).reshape(*shape, *parts[0].shape)


def _scatter(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    x, indices, updates = given
    found = x.copy()
    assert indices.size == 0 or int(indices.min()) >= 0, f"{item!r}: negative indices"
    if name_of(item.layer.mode) == "ELEMENT":
        np.put_along_axis(found, indices.astype(np.int64), updates, int(item.layer.axis))
        return np.asarray(found)
    found[tuple(np.moveaxis(indices.astype(np.int64), -1, 0))] = updates
    return np.asarray(found)


def _topk(made: Evaluation, item: Item, given: Sequence[Any]) -> tuple[Array, Array]:
    x, layer = given[0], item.layer
    k = int(given[1].reshape(-1)[0]) if len(given) > 1 and given[1] is not None else int(layer.k)
    [axis] = [place for place in range(x.ndim) if int(layer.axes) >> place & 1]
    keys = x if name_of(layer.op) == "MIN" else -x.astype(np.float64 if x.dtype.kind == "f" else np.int64)
    order = np.argsort(keys, axis, kind="stable")
    places = np.take(order, np.arange(k), axis)
    dtype = numpy_dtype(made.api, layer.get_output(1).dtype)
    return np.take_along_axis(x, places, axis), places.astype(dtype)


def _one_hot(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    indices, values, depth = given
    axis = int(item.layer.axis) % (indices.ndim + 1)
    places = np.arange(int(depth)).reshape([-1 if place == axis else 1 for place in range(indices.ndim + 1)])
    hit = np.expand_dims(indices, axis) == places
    return np.asarray(np.where(hit, values[1], values[0]).astype(values.dtype))


def _non_zero(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    dtype = numpy_dtype(made.api, item.layer.get_output(0).dtype)
    return np.array(np.nonzero(given[0])).astype(dtype)


def _reverse_sequence(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    x, lengths = given
    batch, time = int(item.layer.batch_axis), int(item.layer.sequence_axis)
    moved = np.moveaxis(x, (batch, time), (0, 1)).copy()
    for place, length in enumerate(lengths.reshape(-1)):
        moved[place, :length] = moved[place, :length][::-1]
    return np.ascontiguousarray(np.moveaxis(moved, (0, 1), (batch, time)))


KERNELS: Final[dict[str, Any]] = {
    "GATHER": _gather,
    "NON_ZERO": _non_zero,
    "ONE_HOT": _one_hot,
    "REVERSE_SEQUENCE": _reverse_sequence,
    "SCATTER": _scatter,
    "TOPK": _topk,
}
