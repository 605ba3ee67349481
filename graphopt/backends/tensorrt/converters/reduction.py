"""Reductions and running sums. Axes are attributes in older opsets, constant inputs in newer ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from graphopt.backends.tensorrt.converters.narrow import cut_to_output
from graphopt.backends.tensorrt.converters.operands import (
    all_of,
    constants,
    dtype_of,
    floats_only,
    integers,
    static_shape,
)
from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.protocols import Tensor
from graphopt.backends.tensorrt.registry import lower
from graphopt.ir import DType, Node

__all__ = ["log_sum", "log_sum_exp", "norm", "reduction", "running_product", "running_sum"]

_PLAIN = {"ReduceSum": "SUM", "ReduceMean": "AVG", "ReduceMax": "MAX", "ReduceMin": "MIN", "ReduceProd": "PROD"}


def _axes(e: Emitter, node: Node, x: Tensor) -> tuple[int, ...]:
    """The axes; all if none are stated, unless the node does nothing then."""
    found = integers(node, "axes", 1)
    if found:
        return tuple(axis % max(1, e.rank(x)) for axis in found)
    return () if node.int_attr("noop_with_empty_axes", 0) else tuple(range(e.rank(x)))


def _reduced(e: Emitter, node: Node, x: Tensor, op: str) -> Tensor:
    axes = _axes(e, node, x)
    keep = bool(node.int_attr("keepdims", 1))
    if any(x.shape[axis] == 0 for axis in axes):
        return _of_nothing(e, x, op, axes, keep=keep)
    return e.reduce(x, op, axes, keep=keep) if axes and e.rank(x) else x


def _of_nothing(e: Emitter, x: Tensor, op: str, axes: Sequence[int], *, keep: bool) -> Tensor:
    """What a reduction of no numbers gives."""
    if -1 in tuple(x.shape):
        raise e.fail("a reduction of no numbers, of sizes that are not known")
    shape = [1 if place in axes else size for place, size in enumerate(x.shape) if keep or place not in axes]
    dtype = e.api.ir_dtype(x.dtype)
    if dtype.is_float:
        number = {"SUM": 0.0, "PROD": 1.0, "MAX": -np.inf, "MIN": np.inf, "AVG": np.nan}[op]
    else:
        limits = np.iinfo(np.int64 if dtype is DType.INT64 else np.int32)
        number = {"SUM": 0, "PROD": 1, "MAX": limits.min, "MIN": limits.max, "AVG": 0}[op]
    return e.constant(np.full(shape, number).astype(dtype.numpy), dtype)


def _types(node: Node) -> str | None:
    dtype = dtype_of(node.input_at(0))
    if dtype is DType.BOOL and node.op_type in ("ReduceMax", "ReduceMin"):
        return None
    return f"a reduction of {dtype}" if dtype is DType.BOOL else None


@lower(*_PLAIN, supports=all_of(constants(1), _types))
def reduction(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One layer; booleans are reduced as int32, a mean of integers is a sum that is divided."""
    x, op = e.plain(e.input(node, 0)), _PLAIN[node.op_type]
    dtype = e.api.ir_dtype(x.dtype)
    if dtype is DType.BOOL:
        if 0 in tuple(x.shape):
            raise e.fail("a reduction of no booleans")
        found = _reduced(e, node, e.cast(x, DType.INT32), op)
        return [e.cast(found, DType.BOOL)]
    if op == "AVG" and not dtype.is_float:
        found = e.cast(_reduced(e, node, e.cast(x, DType.FLOAT), op), x.dtype)
    else:
        found = _reduced(e, node, x, op)
    return [cut_to_output(e, node, found)] if found is not x else [e.out(e.network.add_identity(x))]


@lower("ReduceL1", "ReduceL2", "ReduceSumSquare", supports=all_of(constants(1), _types))
def norm(e: Emitter, node: Node) -> Sequence[Tensor]:
    """Sums of magnitudes or squares."""
    x = e.input(node, 0)
    powers = e.unary(x, "ABS") if node.op_type == "ReduceL1" else e.elementwise(x, x, "PROD")
    total = _reduced(e, node, powers, "SUM")
    if node.op_type != "ReduceL2":
        return [cut_to_output(e, node, total)]
    if e.is_float(total):
        return [e.unary(total, "SQRT")]
    return [e.cast(e.unary(e.cast(total, DType.FLOAT), "SQRT"), x.dtype)]


@lower("ReduceLogSum", supports=all_of(constants(1), floats_only))
def log_sum(e: Emitter, node: Node) -> Sequence[Tensor]:
    """log(sum(x))."""
    return [e.unary(_reduced(e, node, e.input(node, 0), "SUM"), "LOG")]


@lower("ReduceLogSumExp", supports=all_of(constants(1), floats_only))
def log_sum_exp(e: Emitter, node: Node) -> Sequence[Tensor]:
    """log(sum(exp(x - max))) + max, so that nothing overflows; a maximum that is not finite is taken for 0."""
    x = e.input(node, 0)
    axes = _axes(e, node, x)
    if not axes or not e.rank(x):
        return [e.unary(e.unary(x, "EXP"), "LOG")]
    keep = bool(node.int_attr("keepdims", 1))
    if any(x.shape[axis] == 0 for axis in axes):
        return [_of_nothing(e, x, "MAX", axes, keep=keep)]
    reduced = partial(e.reduce, axes=axes)
    largest = reduced(x, "MAX", keep=True)
    largest = e.select(e.unary(largest, "ISINF"), e.scalar_like(0, largest), largest)
    total = e.unary(reduced(e.unary(e.elementwise(x, largest, "SUB"), "EXP"), "SUM", keep=True), "LOG")
    found = e.elementwise(total, largest, "SUM")
    return [found if keep else e.squeeze(found, axes)]


@lower("CumSum", supports=constants(1))
def running_sum(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One layer."""
    x, axis = e.input(node, 0), integers(node, "", 1)
    assert axis is not None, "supports() says that it is constant"
    place = e.constant(np.array(axis[0] % e.rank(x), np.int32))
    exclusive, reverse = bool(node.int_attr("exclusive", 0)), bool(node.int_attr("reverse", 0))
    op = e.api.enum("CumulativeOperation", "SUM")
    found = e.out(e.network.add_cumulative(e.plain(x), place, op, exclusive, reverse))
    return [cut_to_output(e, node, found)]


#: Products that a running one is spelled out by.
_MOST_FACTORS = 128


def _few_factors(node: Node) -> str | None:
    shape, axis = static_shape(node.input_at(0)), integers(node, "", 1)
    if shape is None or axis is None or shape[axis[0] % len(shape)] > _MOST_FACTORS:
        return f"a running product of more than {_MOST_FACTORS} numbers, or of sizes that are not fixed"
    return None


@lower("CumProd", supports=all_of(constants(1), _few_factors))
def running_product(e: Emitter, node: Node) -> Sequence[Tensor]:
    """A product for each place, joined."""
    x, axes = e.plain(e.input(node, 0)), integers(node, "", 1)
    assert axes is not None, "supports() says that it is constant"
    axis, rank = axes[0] % e.rank(x), e.rank(x)
    count = x.shape[axis]
    each = [1 if place == axis else size for place, size in enumerate(x.shape)]
    parts = []
    for number in range(count):
        start = [number if place == axis else 0 for place in range(rank)]
        parts.append(e.out(e.network.add_slice(x, start, each, [1] * rank)))
    order = parts[::-1] if node.int_attr("reverse", 0) else parts
    if node.int_attr("exclusive", 0):
        one = e.constant(np.ones(each).astype(e.api.ir_dtype(x.dtype).numpy), e.api.ir_dtype(x.dtype))
        order = [one, *order[:-1]]
    found = order[:1]
    for item in order[1:]:
        found.append(e.elementwise(found[-1], item, "PROD"))
    joined = e.concat(found[::-1] if node.int_attr("reverse", 0) else found, axis)
    return [cut_to_output(e, node, joined)]
