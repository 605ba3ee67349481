"""Arithmetic, comparison and logic of two and more tensors.

TensorRT wants equal ranks and equal element types; integer DIV truncates towards zero, as ONNX wants it, and FLOOR_DIV floors.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from graphopt.backends.tensorrt.converters.narrow import cut_to_output
from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.protocols import Tensor
from graphopt.backends.tensorrt.registry import lower
from graphopt.ir import DType, Node

__all__ = ["arithmetic", "logic", "mean", "modulo", "or_equal", "power", "variadic", "where"]

_BINARY = {"Add": "SUM", "Sub": "SUB", "Mul": "PROD", "Div": "DIV"}
_VARIADIC = {"Max": "MAX", "Min": "MIN", "Sum": "SUM"}
#: Powers that integers are multiplied for.
_FEW = 8
_LOGIC = {"And": "AND", "Or": "OR", "Xor": "XOR", "Equal": "EQUAL", "Greater": "GREATER", "Less": "LESS"}


@lower("Add", "Sub", "Mul", "Div")
def arithmetic(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One elementwise layer; integers of fewer bits than it has wrap around."""
    return [cut_to_output(e, node, e.elementwise(*_operands(e, node), _BINARY[node.op_type]))]


def _operands(e: Emitter, node: Node) -> tuple[Tensor, Tensor]:
    """Both operands. Before opset 7 the second one is aligned with an axis of the first, where that is asked for."""
    a, b = e.input(node, 0), e.input(node, 1)
    if (node.opset or 7) < 7 and node.int_attr("broadcast", 0) and "axis" in node.attributes:
        behind = e.rank(a) - e.axis(node.int_attr("axis"), a) - e.rank(b)
        if behind > 0:
            b = e.unsqueeze(b, range(e.rank(b), e.rank(b) + behind))
    return a, b


@lower("Max", "Min", "Sum")
def variadic(e: Emitter, node: Node) -> Sequence[Tensor]:
    """A chain of elementwise layers; NaN is not kept by MAX and MIN, as in the runtime."""
    given = [e.input(node, place) for place in range(len(node.inputs))]
    if len(given) == 1:
        return [e.out(e.network.add_identity(given[0]))]
    found = reduce(lambda a, b: e.elementwise(a, b, _VARIADIC[node.op_type]), given)
    return [cut_to_output(e, node, found) if node.op_type == "Sum" else found]


@lower("Mean")
def mean(e: Emitter, node: Node) -> Sequence[Tensor]:
    """Their sum, over how many they are."""
    given = [e.input(node, place) for place in range(len(node.inputs))]
    total = reduce(lambda a, b: e.elementwise(a, b, "SUM"), given)
    return [e.elementwise(total, e.scalar_like(len(given), total), "DIV")]


@lower("Pow")
def power(e: Emitter, node: Node) -> Sequence[Tensor]:
    """POW of floats; integers are multiplied few times, or raised as floats and cast back."""
    base, exponent = _operands(e, node)
    if e.is_float(base):
        return [e.elementwise(base, e.cast(exponent, base.dtype), "POW")]
    base, array = e.plain(base), e.array(node, 1)
    if array is not None and array.size == 1 and float(array.reshape(())) in range(1, _FEW + 1):
        times = int(array.reshape(()))
        return [cut_to_output(e, node, reduce(lambda a, b: e.elementwise(a, b, "PROD"), [base] * times))]
    found = e.elementwise(e.cast(base, DType.FLOAT), e.cast(exponent, DType.FLOAT), "POW")
    return [cut_to_output(e, node, e.cast(found, base.dtype))]


@lower("Mod")
def modulo(e: Emitter, node: Node) -> Sequence[Tensor]:
    """The rest x - y * (x / y), the quotient floored, or cut with ``fmod``; an infinite y leaves x, or is y where their signs differ."""
    x, y = e.aligned(e.plain(e.input(node, 0)), e.plain(e.input(node, 1)))
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
    """One elementwise layer."""
    return [e.elementwise(*_operands(e, node), _LOGIC[node.op_type])]


@lower("GreaterOrEqual", "LessOrEqual")
def or_equal(e: Emitter, node: Node) -> Sequence[Tensor]:
    """The comparison, or equality: false for NaN, which the negated opposite would not be."""
    a, b = e.input(node, 0), e.input(node, 1)
    strict = e.elementwise(a, b, "GREATER" if node.op_type == "GreaterOrEqual" else "LESS")
    return [e.elementwise(strict, e.elementwise(a, b, "EQUAL"), "OR")]


@lower("Where")
def where(e: Emitter, node: Node) -> Sequence[Tensor]:
    """A select layer; booleans are chosen by logic."""
    condition, a, b = (e.input(node, place) for place in range(3))
    if e.api.ir_dtype(a.dtype) is not DType.BOOL:
        return [e.select(condition, a, b)]
    chosen = e.elementwise(condition, a, "AND")
    return [e.elementwise(chosen, e.elementwise(e.unary(condition, "NOT"), b, "AND"), "OR")]
