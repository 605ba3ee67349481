"""Arithmetic, comparison and logic of two and more tensors.

TensorRT wants equal ranks and equal element types; integer DIV truncates towards zero, as ONNX wants it, and FLOOR_DIV floors.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from graphopt.backends.tensorrt.converters.operands import all_of, constants, dtype_of, no_wrapping_integers
from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.protocols import Tensor
from graphopt.backends.tensorrt.registry import lower
from graphopt.ir import DType, Node

__all__ = ["arithmetic", "logic", "mean", "modulo", "or_equal", "power", "shift_right", "variadic", "where"]

_BINARY = {"Add": "SUM", "Sub": "SUB", "Mul": "PROD", "Div": "DIV"}
_VARIADIC = {"Max": "MAX", "Min": "MIN", "Sum": "SUM"}
_LOGIC = {"And": "AND", "Or": "OR", "Xor": "XOR", "Equal": "EQUAL", "Greater": "GREATER", "Less": "LESS"}


@lower("Add", "Sub", "Mul", "Div", supports=no_wrapping_integers)
def arithmetic(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One elementwise layer."""
    return [e.elementwise(*_operands(e, node), _BINARY[node.op_type])]


def _operands(e: Emitter, node: Node) -> tuple[Tensor, Tensor]:
    """Both operands. Before opset 7 the second one is aligned with an axis of the first, where that is asked for."""
    a, b = e.input(node, 0), e.input(node, 1)
    if (node.opset or 7) < 7 and node.int_attr("broadcast", 0) and "axis" in node.attributes:
        behind = e.rank(a) - e.axis(node.int_attr("axis"), a) - e.rank(b)
        if behind > 0:
            b = e.unsqueeze(b, range(e.rank(b), e.rank(b) + behind))
    return a, b


@lower("Max", "Min", "Sum", supports=no_wrapping_integers)
def variadic(e: Emitter, node: Node) -> Sequence[Tensor]:
    """A chain of elementwise layers; NaN is not kept by MAX and MIN, as in the runtime."""
    given = [e.input(node, place) for place in range(len(node.inputs))]
    if len(given) == 1:
        return [e.out(e.network.add_identity(given[0]))]
    return [reduce(lambda a, b: e.elementwise(a, b, _VARIADIC[node.op_type]), given)]


@lower("Mean", supports=no_wrapping_integers)
def mean(e: Emitter, node: Node) -> Sequence[Tensor]:
    """Their sum, over how many they are."""
    given = [e.input(node, place) for place in range(len(node.inputs))]
    total = reduce(lambda a, b: e.elementwise(a, b, "SUM"), given)
    return [e.elementwise(total, e.scalar_like(len(given), total), "DIV")]


def _pow_types(node: Node) -> str | None:
    base = dtype_of(node.input_at(0))
    if base is not None and not base.is_float and base not in (DType.INT32, DType.INT64):
        return f"Pow of {base} has no layer"
    return None


@lower("Pow", supports=_pow_types)
def power(e: Emitter, node: Node) -> Sequence[Tensor]:
    """POW of floats; integers are raised as floats and cast back."""
    base, exponent = _operands(e, node)
    if e.is_float(base):
        return [e.elementwise(base, e.cast(exponent, base.dtype), "POW")]
    found = e.elementwise(e.cast(base, DType.FLOAT), e.cast(exponent, DType.FLOAT), "POW")
    return [e.cast(found, base.dtype)]


@lower("Mod", supports=no_wrapping_integers)
def modulo(e: Emitter, node: Node) -> Sequence[Tensor]:
    """The rest x - y * (x / y), the quotient floored, or cut with ``fmod``; an infinite y leaves x, or is y where their signs differ."""
    x, y = e.aligned(e.input(node, 0), e.input(node, 1))
    cut = bool(node.int_attr("fmod", 0))
    if e.is_integer(x):
        whole = e.elementwise(x, y, "DIV" if cut else "FLOOR_DIV")
        return [e.elementwise(x, e.elementwise(whole, y, "PROD"), "SUB")]
    quotient = e.elementwise(x, y, "DIV")
    if cut:
        whole = e.elementwise(e.unary(quotient, "SIGN"), e.unary(e.unary(quotient, "ABS"), "FLOOR"), "PROD")
    else:
        whole = e.unary(quotient, "FLOOR")
    found = e.elementwise(x, e.elementwise(whole, y, "PROD"), "SUB")
    finite = e.select(e.unary(x, "ISINF"), e.scalar_like(np.nan, x), x)
    if not cut:
        turned = e.elementwise(
            e.elementwise(e.unary(x, "SIGN"), e.unary(y, "SIGN"), "PROD"), e.scalar_like(0, x), "LESS"
        )
        finite = e.select(e.elementwise(turned, e.unary(e.unary(x, "ISINF"), "NOT"), "AND"), y, finite)
    return [e.select(e.unary(y, "ISINF"), finite, found)]


@lower("And", "Or", "Xor", "Equal", "Greater", "Less")
def logic(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One elementwise layer; small integers are compared as int32."""
    a, b = (_comparable(e, item) for item in _operands(e, node))
    return [e.elementwise(a, b, _LOGIC[node.op_type])]


@lower("GreaterOrEqual", "LessOrEqual")
def or_equal(e: Emitter, node: Node) -> Sequence[Tensor]:
    """The comparison, or equality: false for NaN, which the negated opposite would not be."""
    a, b = (_comparable(e, e.input(node, place)) for place in (0, 1))
    strict = e.elementwise(a, b, "GREATER" if node.op_type == "GreaterOrEqual" else "LESS")
    return [e.elementwise(strict, e.elementwise(a, b, "EQUAL"), "OR")]


def _comparable(e: Emitter, tensor: Tensor) -> Tensor:
    dtype = e.api.ir_dtype(tensor.dtype)
    return e.cast(tensor, DType.INT32) if dtype in (DType.UINT8, DType.INT8) else tensor


@lower("Where")
def where(e: Emitter, node: Node) -> Sequence[Tensor]:
    """A select layer; booleans are chosen by logic."""
    condition, a, b = (e.input(node, place) for place in range(3))
    if e.api.ir_dtype(a.dtype) is not DType.BOOL:
        return [e.select(condition, a, b)]
    chosen = e.elementwise(condition, a, "AND")
    return [e.elementwise(chosen, e.elementwise(e.unary(condition, "NOT"), b, "AND"), "OR")]


def _shift_types(node: Node) -> str | None:
    dtype = dtype_of(node.input_at(0))
    return f"shifts of {dtype} would not drop bits as they do in ONNX" if node.str_attr("direction") == "LEFT" else None


@lower("BitShift", supports=all_of(_shift_types, constants(1)))
def shift_right(e: Emitter, node: Node) -> Sequence[Tensor]:
    """A shift to the right is a division by a power of two."""
    x, by = e.input(node, 0), e.array(node, 1)
    if by is None:
        raise e.fail("the number of bits is not constant")
    dtype = e.api.ir_dtype(x.dtype)
    if dtype is DType.UINT8:
        x = e.cast(x, DType.INT32)
    divisor = (2 ** np.minimum(by.astype(np.int64), 30)).astype(e.api.ir_dtype(x.dtype).numpy)
    found = e.elementwise(x, e.constant(divisor), "FLOOR_DIV")
    return [e.cast(found, dtype)]
