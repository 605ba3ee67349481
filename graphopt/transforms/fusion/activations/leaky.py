"""Recognizes functions that are ``x`` where ``x`` is positive and a multiple of it elsewhere: LeakyRelu and PRelu.

``Where(x > 0, x, a * x)``, ``Max(x, a * x)`` for ``0 < a <= 1``, ``Relu(x) + a * Min(x, 0)``, ``Relu(x) - a * Relu(-x)`` and
``Relu(x) + a * (x - |x|) / 2``. A slope of one number makes LeakyRelu, one that broadcasts to ``x`` makes PRelu. Where ``x`` is infinite
the new form has no NaN of ``inf - inf``. Numerics: re-associates. Source: He et al., Delving Deep into Rectifiers, 2015;
https://onnx.ai/onnx/operators/onnx__PRelu.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.ir import Node, Value
from graphopt.rewriting import NoMatch, Pattern, any_, const, op
from graphopt.transforms.broadcasting import keeps_shape
from graphopt.transforms.canonicalize.clips import Bounds
from graphopt.transforms.expressions import other_operand, producer, scalar, scaled_steps
from graphopt.transforms.fusion.activations.bounds import bounded
from graphopt.transforms.fusion.activations.branches import split
from graphopt.transforms.fusion.activations.unary_rule import Activation, RecognizeActivation

__all__ = ["FuseLeakyRelu"]

_X = any_("x")
_ZERO = const("zero", scalar=True, equal_to=0.0)
_SLOPE = const("slope", scalar=True, equal_to=0.25)


@dataclass(frozen=True, slots=True)
class Slope:
    """A multiple of ``value`` by a number, or by a number and a tensor."""

    value: Value
    number: float
    tensor: Value | None = None


def _multiples(value: Value) -> Iterator[Slope]:
    """A value as a multiple of what it is computed from, by a number and at most one tensor."""
    for step in scaled_steps(value):
        yield Slope(step.value, step.scale)
        node = producer(step.value, "Mul")
        for one in () if node is None else node.inputs:
            other = None if node is None or one is None else other_operand(node, one)
            if one is None or other is None or other is one or scalar(other) is not None:
                continue
            for inner in scaled_steps(one):
                yield Slope(inner.value, step.scale * inner.scale, other)


def _negative_part(value: Value) -> Iterator[Slope]:
    """``x`` and the slope of a multiple of ``min(x, 0)``."""
    for found in _multiples(value):
        node = producer(found.value, "Min", "Relu", "Clip", "Max", "Sub")
        if node is None:
            continue
        if node.op == "Sub":
            x, other = node.inputs[0], producer(node.inputs[1], "Abs")
            if x is not None and other is not None and other.inputs[0] is x:
                yield Slope(x, 2 * found.number, found.tensor)
            continue
        bound = bounded(node)
        if bound is None:
            continue
        x, bounds = bound
        if bounds == Bounds(None, 0.0):
            yield Slope(x, found.number, found.tensor)
        elif bounds == Bounds(0.0, None):
            for step in scaled_steps(x):
                if step.scale < 0:
                    yield Slope(step.value, found.number * step.scale, found.tensor)


class FuseLeakyRelu(RecognizeActivation):
    """Where(x > 0, x, a * x), Max(x, a * x), Relu(x) - a * Relu(-x) -> LeakyRelu[a](x) or PRelu(x, a)."""

    name: ClassVar[str] = "fuse-leaky-relu"
    roots: ClassVar[tuple[str, ...]] = ("Where", "Max", "Add", "Sub")
    reach: ClassVar[int] = 6
    min_opset: ClassVar[int] = 9
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Where(op.Greater(_X, _ZERO), _X, op.Mul(_X, _SLOPE)),
        op.Max(_X, op.Mul(_X, _SLOPE)),
        op.Add(op.Relu(_X), op.Mul(_SLOPE, op.Min(_X, _ZERO))),
        op.Sub(op.Relu(_X), op.Mul(op.Relu(op.Neg(_X)), _SLOPE)),
        op.Add(
            op.Relu(_X),
            op.Mul(op.Mul(_SLOPE, op.Sub(_X, op.Abs(_X))), const("half", scalar=True, equal_to=0.5)),
        ),
    )

    def find(self, node: Node) -> Activation | NoMatch:
        """By the operator at the end."""
        match node.op:
            case "Where":
                branches = split(node)
                if isinstance(branches, NoMatch):
                    return branches
                leaks = branches.number == 0 and branches.above is branches.x
                found = _multiple_of(branches.below, branches.x) if leaks else None
                return NoMatch("the branches are not x and a multiple of it") if found is None else _leaky(found)
            case "Max":
                return self._larger(node)
            case _:
                return self._sum(node)

    def _larger(self, node: Node) -> Activation | NoMatch:
        if len(node.inputs) == 2:
            for x in node.inputs:
                other = None if x is None else other_operand(node, x)
                if x is None or other is None or other is x:
                    continue
                found = _multiple_of(other, x)
                if found is not None and found.tensor is None and 0 < found.number <= 1:
                    return _leaky(found)
        return NoMatch("no maximum of x and a smaller multiple of it")

    def _sum(self, node: Node) -> Activation | NoMatch:
        first, second = node.inputs[0], node.inputs[1]
        for positive, negative in ((first, second), (second, first))[: 1 if node.op == "Sub" else 2]:
            bound = bounded(producer(positive, "Relu", "Max", "Clip"))
            if bound is None or negative is None or bound[1] != Bounds(0.0, None):
                continue
            sign = -1.0 if node.op == "Sub" else 1.0
            for found in _negative_part(negative):
                if found.value is bound[0]:
                    return _leaky(Slope(found.value, sign * found.number, found.tensor))
        return NoMatch("no sum of the positive part and a multiple of the negative part")


def _multiple_of(value: Value, x: Value) -> Slope | None:
    return next((found for found in _multiples(value) if found.value is x), None)


def _leaky(slope: Slope) -> Activation | NoMatch:
    """The operator for a slope."""
    x, tensor = slope.value, slope.tensor
    if tensor is None:
        return Activation("LeakyRelu", x, {"alpha": slope.number})
    if tensor.dtype != x.dtype or not keeps_shape(x.shape, tensor.shape):
        return NoMatch("a slope %s does not broadcast to %s", tensor.type, x.type)
    if slope.number == 1:
        return Activation("PRelu", x, operands=(tensor,), leaves=(tensor,))
    numbers = tensor.array()
    if numbers is None:
        return NoMatch("the slope is not constant and has a factor")
    scaled = np.asarray(numbers * np.asarray(slope.number, numbers.dtype))
    return Activation("PRelu", x, operands=(scaled,), leaves=(tensor,))
