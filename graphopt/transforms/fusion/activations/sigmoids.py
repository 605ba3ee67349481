"""Recognizes the logistic function and what is made with it.

``1 / (1 + exp(-x)) -> Sigmoid(x)``, ``x / (1 + exp(-x)) -> x * Sigmoid(x)``, ``(1 + tanh(x / 2)) / 2 -> Sigmoid(x)`` and ``2 *
sigmoid(2 * x) - 1 -> Tanh(x)``, which are one function scaled and shifted, ``x * Sigmoid(a * x) -> Swish[alpha=a](x)``,
``x * tanh(softplus(x)) -> Mish(x)`` (opset 18). Where ``exp`` overflows both forms are the same. Swish is for targets that have a kernel
for it, and at opset 24 only: ONNX Runtime, where results are checked, expands it there and refuses it later; expanded it has a cast that
keeps ONNX Runtime from its own fusion. Numerics: re-associates. Source: https://onnx.ai/onnx/operators/onnx__Swish.html, onnx__Mish.html
"""

from __future__ import annotations

from typing import ClassVar, Final

from graphopt.ir import DType, Node, Value
from graphopt.rewriting import NoMatch, Pattern, any_, const, op
from graphopt.transforms.expressions import affine_steps, is_close, producer, scalar
from graphopt.transforms.fusion.activations.gates import gated, linear_in
from graphopt.transforms.fusion.activations.unary_rule import Activation, RecognizeActivation

__all__ = ["FuseMish", "FuseShiftedSigmoid", "FuseSigmoid", "FuseSwish", "sigmoid_gate"]

_SIGMOID: Final = frozenset({"Sigmoid"})
_TANH: Final = frozenset({"Tanh"})
_X = any_("x")
_ONE = const("one", scalar=True, equal_to=1.0)


def exp_plus_one(value: Value | None) -> Value | None:
    """``y`` of ``1 + exp(y)``."""
    if value is not None:
        for step in affine_steps(value):
            exp = producer(step.value, "Exp")
            if exp is not None:
                return exp.inputs[0] if step.scale == 1 and step.offset == 1 else None
    return None


class FuseSigmoid(RecognizeActivation):
    """1 / (1 + Exp(-x)) -> Sigmoid(x), and with x for the dividend x * Sigmoid(x)."""

    name: ClassVar[str] = "fuse-sigmoid"
    roots: ClassVar[tuple[str, ...]] = ("Div", "Reciprocal")
    reach: ClassVar[int] = 4
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Reciprocal(op.Add(op.Exp(op.Neg(_X)), _ONE)),
        op.Div(const("dividend", scalar=True, equal_to=1.0), op.Add(_ONE, op.Exp(op.Neg(_X)))),
        op.Div(_X, op.Add(_ONE, op.Exp(op.Neg(_X)))),
    )

    def find(self, node: Node) -> Activation | NoMatch:
        """The argument of Exp must be a value with its sign changed."""
        argument = exp_plus_one(node.inputs[-1])
        if argument is None:
            return NoMatch("the divisor is not 1 + exp(...)")
        negated = next((step.value for step in affine_steps(argument) if step.scale == -1 and step.offset == 0), None)
        if negated is None:
            return NoMatch("the argument of Exp is not negated")
        if node.op == "Reciprocal" or scalar(node.inputs[0]) == 1:
            return Activation("Sigmoid", negated)
        return (
            Activation("Sigmoid", negated, times=negated)
            if node.inputs[0] is negated
            else NoMatch("the dividend is neither 1 nor the argument")
        )


class FuseShiftedSigmoid(RecognizeActivation):
    """(1 + Tanh(x / 2)) / 2 -> Sigmoid(x), 2 * Sigmoid(2 * x) - 1 -> Tanh(x)."""

    name: ClassVar[str] = "fuse-shifted-sigmoid"
    roots: ClassVar[tuple[str, ...]] = ("Add", "Sub", "Mul", "Div")
    reach: ClassVar[int] = 4
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Mul(
            op.Add(op.Tanh(op.Mul(_X, const("half", scalar=True, equal_to=0.5))), _ONE),
            const("half", scalar=True, equal_to=0.5),
        ),
        op.Sub(
            op.Mul(
                op.Sigmoid(op.Mul(_X, const("two", scalar=True, equal_to=2.0))), const("two", scalar=True, equal_to=2.0)
            ),
            _ONE,
        ),
    )

    def find(self, node: Node) -> Activation | NoMatch:
        """The argument must be the multiple that takes the scale away."""
        for step in affine_steps(node.output):
            inner = producer(step.value, "Tanh", "Sigmoid")
            if inner is None:
                continue
            sigmoid = inner.op == "Sigmoid"
            if (step.scale, step.offset) != ((2, -1) if sigmoid else (0.5, 0.5)):
                break
            factor = 2.0 if sigmoid else 0.5
            argument = inner.inputs[0]
            found = (
                []
                if argument is None
                else [s.value for s in affine_steps(argument) if (s.scale, s.offset) == (factor, 0)]
            )
            if found:
                return Activation("Tanh" if sigmoid else "Sigmoid", found[0])
        return NoMatch("no (1 + tanh(x / 2)) / 2")


def sigmoid_gate(node: Node) -> tuple[Value, float] | NoMatch:
    """``x`` and ``a`` of ``x * sigmoid(a * x)``."""
    for found in gated(node, _SIGMOID):
        inner = linear_in(found.gate.inputs[0], found.x)
        if inner is not None and inner[1] == 0 and found.offset == 0 and is_close(found.scale, 1.0, None):
            return found.x, inner[0]
    return NoMatch("no x * sigmoid(a * x)")


class FuseSwish(RecognizeActivation):
    """x * Sigmoid(a * x) -> Swish[alpha=a](x)."""

    name: ClassVar[str] = "fuse-swish"
    roots: ClassVar[tuple[str, ...]] = ("Mul", "Div")
    reach: ClassVar[int] = 4
    min_opset: ClassVar[int] = 24
    max_opset: ClassVar[int] = 24
    makes: ClassVar[str] = "Swish"
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Mul(_X, op.Sigmoid(_X)),
        op.Mul(_X, op.Sigmoid(op.Mul(_X, const("alpha", scalar=True, equal_to=1.702)))),
    )

    def find(self, node: Node) -> Activation | NoMatch:
        """Any factor of the argument."""
        found = sigmoid_gate(node)
        return found if isinstance(found, NoMatch) else Activation("Swish", found[0], {"alpha": found[1]})


class FuseMish(RecognizeActivation):
    """x * Tanh(Softplus(x)) -> Mish(x)."""

    name: ClassVar[str] = "fuse-mish"
    roots: ClassVar[tuple[str, ...]] = ("Mul", "Div")
    reach: ClassVar[int] = 5
    min_opset: ClassVar[int] = 18
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Mul(_X, op.Tanh(op.Softplus(_X))),
        op.Mul(op.Tanh(op.Log(op.Add(op.Exp(_X), _ONE))), _X),
    )
    dtypes: ClassVar[frozenset[DType]] = frozenset({DType.FLOAT, DType.FLOAT16})

    def find(self, node: Node) -> Activation | NoMatch:
        """The softplus may be spelled out: where its exp overflows, tanh is 1 either way."""
        for found in gated(node, _TANH):
            softplus = producer(found.gate.inputs[0], "Softplus", "Log")
            if softplus is None or found.offset != 0 or not is_close(found.scale, 1.0, None):
                continue
            inside = softplus.inputs[0] if softplus.op == "Softplus" else exp_plus_one(softplus.inputs[0])
            if inside is found.x:
                return Activation("Mish", found.x)
        return NoMatch("no x * tanh(softplus(x))")
