"""Recognizes Gelu, in its exact form by the error function and in its approximation by tanh.

``x * (1 + erf(x / sqrt(2))) / 2 -> Gelu(x)`` and ``x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2 -> Gelu[approximate=tanh](x)``,
the numbers anywhere, the cube as Pow or products. Standard operator, opset 20 and later. Numerics: re-associates. Source: Hendrycks and
Gimpel, Gaussian Error Linear Units, 2016; https://onnx.ai/onnx/operators/onnx__Gelu.html
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar, Final

from graphopt.ir import Node, Value
from graphopt.rewriting import NoMatch, Pattern, any_, const, op
from graphopt.transforms.expressions import (
    affine_steps,
    is_close,
    other_operand,
    producer,
    products,
    scaled_steps,
    square_of,
)
from graphopt.transforms.fusion.activations.gates import gated, linear_in
from graphopt.transforms.fusion.activations.unary_rule import Activation, RecognizeActivation

__all__ = ["ERF_CONTEXTS", "TANH_CONTEXTS", "FuseGelu", "FuseTanhGelu", "ends_gelu", "erf_gelu", "tanh_gelu"]

_ERF: Final = frozenset({"Erf"})
_TANH: Final = frozenset({"Tanh"})
_CUBIC: Final = 0.044715
_SLOPE: Final = math.sqrt(2 / math.pi)

_X = any_("x")
_ERF_OF_X = op.Erf(op.Div(_X, const("root", scalar=True, equal_to=1.4142135623730951)))
ERF_CONTEXTS: Final[tuple[Pattern, ...]] = (
    op.Mul(
        op.Mul(_X, op.Add(_ERF_OF_X, const("one", scalar=True, equal_to=1.0))), const("half", scalar=True, equal_to=0.5)
    ),
    op.Mul(
        op.Mul(_X, const("half", scalar=True, equal_to=0.5)),
        op.Add(
            op.Erf(op.Mul(_X, const("root", scalar=True, equal_to=0.7071067811865476))),
            const("one", scalar=True, equal_to=1.0),
        ),
    ),
    op.Mul(
        _X, op.Mul(op.Add(const("one", scalar=True, equal_to=1.0), _ERF_OF_X), const("half", scalar=True, equal_to=0.5))
    ),
)
_INNER = op.Mul(
    op.Add(
        _X,
        op.Mul(
            op.Pow(_X, const("three", scalar=True, equal_to=3.0)),
            const("cubic", scalar=True, equal_to=_CUBIC),
        ),
    ),
    const("slope", scalar=True, equal_to=_SLOPE),
)
_INNER_PRODUCTS = op.Mul(
    op.Mul(_X, const("slope", scalar=True, equal_to=_SLOPE)),
    op.Add(
        op.Mul(op.Mul(_X, const("cubic", scalar=True, equal_to=_CUBIC)), _X),
        const("one", scalar=True, equal_to=1.0),
    ),
)
TANH_CONTEXTS: Final[tuple[Pattern, ...]] = tuple(
    op.Mul(
        op.Mul(_X, const("half", scalar=True, equal_to=0.5)),
        op.Add(op.Tanh(inner), const("one", scalar=True, equal_to=1.0)),
    )
    for inner in (_INNER, _INNER_PRODUCTS)
)


def erf_gelu(node: Node) -> Value | NoMatch:
    """What the node is the Gelu of, by the error function."""
    for found in gated(node, _ERF):
        inner = linear_in(found.gate.inputs[0], found.x)
        if inner is None or inner[1] != 0:
            continue
        dtype = found.x.dtype
        sign = -1.0 if inner[0] < 0 else 1.0
        if (
            is_close(abs(inner[0]), math.sqrt(0.5), dtype)
            and is_close(sign * found.scale, 0.5, dtype)
            and is_close(found.offset, 0.5, dtype)
        ):
            return found.x
    return NoMatch("no x * (1 + erf(x / sqrt(2))) / 2")


def tanh_gelu(node: Node) -> Value | NoMatch:
    """What the node is the Gelu of, approximated by tanh."""
    for found in gated(node, _TANH):
        x, dtype = found.x, found.x.dtype
        if not (is_close(found.scale, 0.5, dtype) and is_close(found.offset, 0.5, dtype)):
            continue
        argument = found.gate.inputs[0]
        for linear, cubic in () if argument is None else _polynomials(argument, x):
            if is_close(linear, _SLOPE, dtype) and is_close(cubic, _SLOPE * _CUBIC, dtype):
                return x
    return NoMatch("no x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2")


def ends_gelu(node: Node) -> bool:
    """Whether a node is the last product of a spelt-out Gelu, which runtimes look for: it should stay one."""
    return not isinstance(erf_gelu(node), NoMatch) or not isinstance(tanh_gelu(node), NoMatch)


def _polynomials(value: Value, x: Value) -> Iterator[tuple[float, float]]:
    """``(a, b)`` with ``value = a * x + b * x^3``: as a sum of multiples, or as ``x`` times ``a + b * x^2``."""
    for step in scaled_steps(value):
        node = producer(step.value, "Add", "Mul")
        if node is None:
            continue
        if node.op == "Add":
            for one in node.inputs:
                other = None if one is None else other_operand(node, one)
                first = linear_in(one, x)
                third = _cube(other, x)
                if first is not None and first[1] == 0 and third is not None:
                    yield step.scale * first[0], step.scale * third
        for coefficient, one, other in products(node):
            for factor, rest in ((one, other), (other, one)):
                first, second = linear_in(factor, x), _square_plus(rest, x)
                if first is not None and first[1] == 0 and second is not None:
                    scale = step.scale * coefficient * first[0]
                    yield scale * second[1], scale * second[0]


def _cube(value: Value | None, x: Value) -> float | None:
    """``a`` with ``value = a * x^3``."""
    for step in () if value is None else scaled_steps(value):
        node = producer(step.value, "Pow", "Mul")
        if node is None:
            continue
        exponent = node.inputs[1]
        if node.op == "Pow":
            array = None if exponent is None else exponent.array()
            if node.inputs[0] is x and array is not None and array.size == 1 and float(array.reshape(-1)[0]) == 3:
                return step.scale
            continue
        for coefficient, one, other in products(node):
            for factor, rest in ((one, other), (other, one)):
                first, second = linear_in(factor, x), _square(rest, x)
                if first is not None and first[1] == 0 and second is not None:
                    return step.scale * coefficient * first[0] * second
    return None


def _square(value: Value, x: Value) -> float | None:
    """``a`` with ``value = a * x^2``."""
    for step in scaled_steps(value):
        if square_of(step.value) is x:
            return step.scale
        node = producer(step.value, "Mul")
        for coefficient, one, other in () if node is None else products(node):
            first, second = linear_in(one, x), linear_in(other, x)
            if first is not None and second is not None and first[1] == second[1] == 0:
                return step.scale * coefficient * first[0] * second[0]
    return None


def _square_plus(value: Value, x: Value) -> tuple[float, float] | None:
    """``(a, b)`` with ``value = a * x^2 + b``."""
    for step in affine_steps(value):
        square = _square(step.value, x)
        if square is not None:
            return step.scale * square, step.offset
    return None


class FuseGelu(RecognizeActivation):
    """x * (1 + Erf(x / sqrt(2))) / 2 -> Gelu(x)."""

    name: ClassVar[str] = "fuse-gelu"
    roots: ClassVar[tuple[str, ...]] = ("Mul", "Div")
    reach: ClassVar[int] = 5
    min_opset: ClassVar[int] = 20
    contexts: ClassVar[tuple[Pattern, ...]] = ERF_CONTEXTS

    def find(self, node: Node) -> Activation | NoMatch:
        """By the error function."""
        x = erf_gelu(node)
        return x if isinstance(x, NoMatch) else Activation("Gelu", x)


class FuseTanhGelu(RecognizeActivation):
    """x * (1 + Tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2 -> Gelu[approximate=tanh](x)."""

    name: ClassVar[str] = "fuse-tanh-gelu"
    roots: ClassVar[tuple[str, ...]] = ("Mul", "Div")
    reach: ClassVar[int] = 8
    min_opset: ClassVar[int] = 20
    contexts: ClassVar[tuple[Pattern, ...]] = TANH_CONTEXTS

    def find(self, node: Node) -> Activation | NoMatch:
        """By tanh."""
        x = tanh_gelu(node)
        return x if isinstance(x, NoMatch) else Activation("Gelu", x, {"approximate": "tanh"})
