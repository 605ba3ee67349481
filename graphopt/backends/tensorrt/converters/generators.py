"""Tensors made from numbers alone: ConstantOfShape, Range, EyeLike, Trilu, OneHot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphopt.backends.tensorrt.converters.operands import (
    constants,
    dtype_of,
    integers,
    static_shape,
)
from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.protocols import Tensor
from graphopt.backends.tensorrt.registry import lower
from graphopt.ir import Constant, DType, Node

__all__ = ["constant", "constant_of_shape", "counted", "eye_like", "one_hot", "range_", "triangle"]


def _numbers(node: Node) -> str | None:
    """A constant may be of text."""
    given = node.attr("value")
    text = (isinstance(given, Constant) and given.dtype is DType.STRING) or any(
        name.startswith("value_string") for name in node.attributes
    )
    return "there are no strings" if text else None


@lower("Constant", supports=_numbers)
def constant(e: Emitter, node: Node) -> Sequence[Tensor]:
    """A constant layer."""
    found = node.attr("value")
    if isinstance(found, Constant):
        return [e.constant(found.numpy(), found.dtype)]
    for name, dtype in (
        ("value_float", np.float32),
        ("value_int", np.int64),
        ("value_floats", np.float32),
        ("value_ints", np.int64),
    ):
        if name in node.attributes:
            return [e.constant(np.array(node.attributes[name].value, dtype))]
    raise e.fail("a constant that is no tensor of numbers")


@lower("ConstantOfShape")
def constant_of_shape(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One number, repeated."""
    given = node.attr("value")
    number = given.numpy().reshape(-1)[:1] if isinstance(given, Constant) else np.zeros(1, np.float32)
    dtype = given.dtype if isinstance(given, Constant) else DType.FLOAT
    sizes = integers(node, "", 0)
    if sizes is not None:
        if int(np.prod(sizes, dtype=np.int64)) == 0:
            return [e.constant(np.zeros(sizes, dtype.numpy), dtype)]
        one = e.constant(number.reshape((1,) * len(sizes)), dtype)
        return [e.expand(one, sizes)] if sizes else [one]
    shape = e.cast(e.input(node, 0), DType.INT64)
    if shape.shape[0] == -1:
        raise e.fail("a number of axes that is not known")
    return [e.expand(e.constant(number.reshape((1,) * shape.shape[0]), dtype), shape)]


def counted(e: Emitter, size: int | Tensor, dtype: DType = DType.INT64) -> Tensor:
    """0, 1, 2 and so on.

    Args:
        e: adds layers.
        size: how many, a number or int64 [1].
        dtype: int32, int64 or float.
    """
    if isinstance(size, int):
        return e.constant(np.arange(size).astype(dtype.numpy), dtype)
    kind = e.api.dtype(dtype)
    layer = e.check(e.network.add_fill([1], e.api.enum("FillOperation", "LINSPACE"), kind), settled=False)
    layer.set_input(0, size)
    layer.set_input(1, e.constant(np.array(0, dtype.numpy)))
    layer.set_input(2, e.constant(np.array([1], dtype.numpy)))
    return e.out(layer)


def _of_integers(node: Node) -> str | None:
    """How many numbers there are is a size, which the library does not work out from floats."""
    dtype = dtype_of(node.input_at(0))
    return constants(0, 1, 2)(node) if dtype is not None and dtype.is_float else None


@lower("Range", supports=_of_integers)
def range_(e: Emitter, node: Node) -> Sequence[Tensor]:
    """A fill layer of as many numbers as there are before the limit."""
    start, limit, delta = (e.input(node, place) for place in range(3))
    distance = e.elementwise(limit, start, "SUB")
    if e.is_float(start):
        count = e.cast(e.unary(e.elementwise(distance, delta, "DIV"), "CEIL"), DType.INT64)
    else:  # rounded up: the negative of what is rounded down of the negative
        negative = e.elementwise(e.unary(distance, "NEG"), delta, "FLOOR_DIV")
        count = e.cast(e.unary(negative, "NEG"), DType.INT64)
    size = e.reshape(e.elementwise(count, e.constant(np.array(0, np.int64)), "MAX"), [1])
    layer = e.check(e.network.add_fill([1], e.api.enum("FillOperation", "LINSPACE"), start.dtype), settled=False)
    layer.set_input(0, size)
    layer.set_input(1, e.reshape(start, []))
    layer.set_input(2, e.reshape(delta, [1]))
    return [e.out(layer)]


def _known_matrix(node: Node) -> str | None:
    return "the sizes are not fixed" if static_shape(node.input_at(0)) is None else None


@lower("EyeLike", supports=_known_matrix)
def eye_like(e: Emitter, node: Node) -> Sequence[Tensor]:
    """A constant."""
    x = e.input(node, 0)
    dtype = DType(node.int_attr("dtype")) if "dtype" in node.attributes else dtype_of(node.input_at(0)) or DType.FLOAT
    rows, columns = tuple(x.shape)
    return [e.constant(np.eye(rows, columns, node.int_attr("k", 0)).astype(dtype.numpy), dtype)]


@lower("Trilu")
def triangle(e: Emitter, node: Node) -> Sequence[Tensor]:
    """Numbers above or below a diagonal, zero elsewhere; ``upper`` is 1 unless stated."""
    x, shift = e.input(node, 0), e.optional(node, 1)
    if 0 in tuple(x.shape):
        return [x]
    rows, columns = (
        e.reshape(counted(e, x.shape[axis] if x.shape[axis] != -1 else e.sizes(x, [axis])), shape)
        for axis, shape in ((-2 % e.rank(x), [-1, 1]), (-1 % e.rank(x), [1, -1]))
    )
    bound = rows if shift is None else e.elementwise(rows, e.reshape(shift, [1, 1]), "SUM")
    outside = e.elementwise(columns, bound, "LESS" if node.int_attr("upper", 1) else "GREATER")
    dtype = e.api.ir_dtype(x.dtype)
    if dtype is DType.BOOL:
        return [e.elementwise(x, e.unary(outside, "NOT"), "AND")]
    return [e.select(outside, e.scalar_like(0, x), x)]


@lower("OneHot", supports=constants(1))
def one_hot(e: Emitter, node: Node) -> Sequence[Tensor]:
    """The on-value where a running number is the index, the off-value elsewhere; indices outside have none."""
    indices, depth = e.input(node, 0), (integers(node, "", 1) or (0,))[0]
    values = e.input(node, 2)
    indices = e.cast(indices, DType.INT64)
    zero = e.scalar_like(0, indices)
    size = e.scalar_like(depth, indices)
    indices = e.select(e.elementwise(indices, zero, "LESS"), e.elementwise(indices, size, "SUM"), indices)
    rank = e.rank(indices) + 1
    axis = node.int_attr("axis", -1) % rank
    places = np.arange(depth).reshape([-1 if place == axis else 1 for place in range(rank)])
    hit = e.elementwise(e.unsqueeze(indices, [axis]), e.constant(places.astype(np.int64)), "EQUAL")
    off, on = (e.reshape(e.out(e.network.add_slice(values, [place], [1], [1])), (1,) * rank) for place in (0, 1))
    return [e.select(hit, on, off)]
