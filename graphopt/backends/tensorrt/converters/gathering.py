"""Numbers picked by indices, and put at indices. TensorRT's indices are not negative."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphopt.backends.tensorrt.converters.operands import static_shape
from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.protocols import Layer, Tensor
from graphopt.backends.tensorrt.registry import lower
from graphopt.ir import DType, Node, constant_of

__all__ = ["gather", "gather_elements", "gather_nd", "indices_of", "scatter_elements", "scatter_nd"]


def indices_of(e: Emitter, node: Node, place: int, size: int | Tensor) -> Tensor:
    """Indices of an axis of some size, counted from the front."""
    array: Any = e.array(node, place)
    if array is not None and isinstance(size, int):
        return e.constant(
            np.where(array < 0, array + size, array).astype(np.int64 if array.dtype == np.int64 else np.int32)
        )
    if array is not None and (array >= 0).all():
        return e.input(node, place)
    found = e.input(node, place)
    length = (
        e.scalar_like(size, found) if isinstance(size, int) else e.cast(e.with_rank(size, e.rank(found)), found.dtype)
    )
    if not e.rank(found) and not isinstance(size, int):
        length = e.cast(e.reshape(size, []), found.dtype)
    return e.select(e.elementwise(found, e.scalar_like(0, found), "LESS"), e.elementwise(found, length, "SUM"), found)


def _size(e: Emitter, x: Tensor, axis: int) -> int | Tensor:
    size = x.shape[axis]
    return size if size != -1 else e.sizes(x, [axis])


@lower("Gather")
def gather(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One layer."""
    x = e.input(node, 0)
    axis = e.axis(node.int_attr("axis", 0), x)
    found = e.gather(_plain(e, x), indices_of(e, node, 1, _size(e, x, axis)), axis)
    return [e.cast(found, x.dtype)]


def _plain(e: Emitter, x: Tensor) -> Tensor:
    """Booleans and stored bytes as int32, which every layer takes."""
    return e.cast(x, DType.INT32) if e.api.ir_dtype(x.dtype) in (DType.BOOL, DType.INT8) else x


@lower("GatherElements")
def gather_elements(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One layer."""
    x = e.input(node, 0)
    axis = e.axis(node.int_attr("axis", 0), x)
    mode = e.api.enum("GatherMode", "ELEMENT")
    layer = e.check(e.network.add_gather_v2(_plain(e, x), indices_of(e, node, 1, _size(e, x, axis)), mode))
    layer.axis = axis
    return [e.cast(e.out(layer), x.dtype)]


def _tuples(e: Emitter, node: Node, x: Tensor, skipped: int) -> Tensor:
    """Indices whose last axis has one for each of several axes of ``x``."""
    indices = e.input(node, 1)
    count = indices.shape[-1]
    if count == -1:
        raise e.fail("indices of a number of axes that is not known")
    array: Any = e.array(node, 1)
    sizes = tuple(x.shape)[skipped : skipped + count]
    if array is not None and -1 not in sizes:
        return e.constant(np.where(array < 0, array + np.array(sizes), array).astype(np.int64))
    if array is not None and (array >= 0).all():
        return indices
    length = e.cast(e.with_rank(e.sizes(x, range(skipped, skipped + count)), e.rank(indices)), indices.dtype)
    zero = e.scalar_like(0, indices)
    return e.select(e.elementwise(indices, zero, "LESS"), e.elementwise(indices, length, "SUM"), indices)


@lower("GatherND")
def gather_nd(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One layer."""
    x, batch = e.input(node, 0), node.int_attr("batch_dims", 0)
    mode = e.api.enum("GatherMode", "ND")
    layer = e.check(e.network.add_gather_v2(_plain(e, x), _tuples(e, node, x, batch), mode), settled=not batch)
    layer.num_elementwise_dims = batch
    return [e.cast(e.out(layer), x.dtype)]


_REDUCTIONS = {"add": "SUM", "mul": "PROD", "max": "MAX", "min": "MIN"}


def _one_at_a_time(node: Node) -> str | None:
    """What is put together with what is there, at places that are known and differ."""
    how = node.str_attr("reduction") or "none"
    if how == "none":
        return None
    indices, shape = constant_of(node.input_at(1)), static_shape(node.input_at(0))
    if indices is None or shape is None:
        return f"{node.op_type} with reduction {how!r}, at places that are not constant or of sizes that are not fixed"
    array = indices.numpy().astype(np.int64)
    if node.op_type == "ScatterND":
        sizes = np.array(shape[: array.shape[-1]])
        places = np.where(array < 0, array + sizes, array).reshape(-1, array.shape[-1])
    else:
        axis = node.int_attr("axis", 0) % len(shape)
        grid: list[Any] = list(np.indices(array.shape))
        grid[axis] = np.where(array < 0, array + shape[axis], array)
        places = np.stack([item.reshape(-1) for item in grid], 1)
    if len(np.unique(places, axis=0)) < len(places):
        return f"{node.op_type} with reduction {how!r}, several times at one place"
    return None


@lower("ScatterElements", "Scatter", supports=_one_at_a_time)
def scatter_elements(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One layer."""
    x = e.input(node, 0)
    axis = e.axis(node.int_attr("axis", 0), x)
    layer = _scatter(e, node, x, indices_of(e, node, 1, _size(e, x, axis)), "ELEMENT", axis)
    layer.axis = axis
    return [e.cast(e.out(layer), x.dtype)]


@lower("ScatterND", supports=_one_at_a_time)
def scatter_nd(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One layer."""
    x = e.input(node, 0)
    return [e.cast(e.out(_scatter(e, node, x, _tuples(e, node, x, 0), "ND")), x.dtype)]


def _scatter(e: Emitter, node: Node, x: Tensor, indices: Tensor, mode: str, axis: int = 0) -> Layer:
    updates = _plain(e, e.input(node, 2))
    how = node.str_attr("reduction") or "none"
    if how != "none":
        there = e.check(e.network.add_gather_v2(_plain(e, x), indices, e.api.enum("GatherMode", mode)))
        if mode == "ELEMENT":
            there.axis = axis
        updates = e.elementwise(e.out(there), updates, _REDUCTIONS[how])
    return e.check(e.network.add_scatter(_plain(e, x), indices, updates, e.api.enum("ScatterMode", mode)))
