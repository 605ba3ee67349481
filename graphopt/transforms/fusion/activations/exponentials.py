"""Recognizes activations that are spelled with exp, log and abs, and those with a threshold.

``Log(1 + Exp(x)) -> Softplus(x)``, float32 only: it is ``x`` where the spelling overflows to infinity, beyond 88; its stable form
``Relu(x) + Softplus(-|x|) -> Softplus(x)``, and torch's, which is ``x`` itself above 20; ``x / (1 + |x|) -> Softsign(x)``;
``Where(x > 0, x, a * (Exp(x) - 1)) -> Elu[a](x)``, Celu and Selu likewise; ``Where(x > a, x, 0) -> ThresholdedRelu[a](x)``, which is 0
where ``x`` is NaN, unlike Relu. ``Log(Softmax(x))`` stays: it is minus infinity where LogSoftmax is a number, which models with masks
depend on. Numerics: re-associates. Source: https://onnx.ai/onnx/operators/onnx__Elu.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.ir import DType, Node, Value
from graphopt.rewriting import NoMatch, Pattern, any_, const, op
from graphopt.transforms.canonicalize.clips import Bounds
from graphopt.transforms.expressions import affine_steps, is_close, other_operand, producer, scalar, scaled_steps
from graphopt.transforms.fusion.activations.bounds import bounded
from graphopt.transforms.fusion.activations.branches import split
from graphopt.transforms.fusion.activations.gates import linear_in
from graphopt.transforms.fusion.activations.sigmoids import exp_plus_one
from graphopt.transforms.fusion.activations.unary_rule import Activation, RecognizeActivation

__all__ = [
    "FuseElu",
    "FuseSelu",
    "FuseSoftplus",
    "FuseSoftsign",
    "FuseStableSoftplus",
    "FuseThresholdedRelu",
    "FuseThresholdedSoftplus",
]

_X = any_("x")
_ONE = const("one", scalar=True, equal_to=1.0)
_ZERO = const("zero", scalar=True, equal_to=0.0)
_SELU = (1.67326319217681884765625, 1.05070102214813232421875)


class FuseSoftplus(RecognizeActivation):
    """Log(1 + Exp(x)) -> Softplus(x)."""

    name: ClassVar[str] = "fuse-softplus"
    roots: ClassVar[tuple[str, ...]] = ("Log",)
    reach: ClassVar[int] = 3
    dtypes: ClassVar[frozenset[DType]] = frozenset({DType.FLOAT})
    contexts: ClassVar[tuple[Pattern, ...]] = (op.Log(op.Add(op.Exp(_X), _ONE)), op.Log(op.Add(_ONE, op.Exp(_X))))

    def find(self, node: Node) -> Activation | NoMatch:
        """Exactly one must be added."""
        x = exp_plus_one(node.inputs[0])
        return NoMatch("the argument is not 1 + exp(x)") if x is None else Activation("Softplus", x)


class FuseStableSoftplus(RecognizeActivation):
    """Relu(x) + Softplus(-Abs(x)) -> Softplus(x)."""

    name: ClassVar[str] = "fuse-stable-softplus"
    roots: ClassVar[tuple[str, ...]] = ("Add",)
    reach: ClassVar[int] = 6
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Add(op.Relu(_X), op.Softplus(op.Neg(op.Abs(_X)))),
        op.Add(op.Log(op.Add(op.Exp(op.Neg(op.Abs(_X))), _ONE)), op.Max(_X, _ZERO)),
    )

    def find(self, node: Node) -> Activation | NoMatch:
        """Either summand may stand first."""
        for one in node.inputs:
            bound = bounded(producer(one, "Relu", "Max", "Clip"))
            other = None if one is None else producer(other_operand(node, one), "Softplus", "Log")
            if bound is None or bound[1] != Bounds(0.0, None) or other is None:
                continue
            inside = other.inputs[0] if other.op == "Softplus" else exp_plus_one(other.inputs[0])
            size = None if inside is None else next((s.value for s in scaled_steps(inside) if s.scale == -1), None)
            absolute = producer(size, "Abs")
            if absolute is not None and absolute.inputs[0] is bound[0]:
                return Activation("Softplus", bound[0])
        return NoMatch("no relu(x) + log(1 + exp(-|x|))")


class FuseThresholdedSoftplus(RecognizeActivation):
    """Where(x > 20, x, Softplus(x)) -> Softplus(x)."""

    name: ClassVar[str] = "fuse-thresholded-softplus"
    roots: ClassVar[tuple[str, ...]] = ("Where",)
    reach: ClassVar[int] = 2
    min_opset: ClassVar[int] = 9
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Where(op.Greater(_X, const("threshold", scalar=True, equal_to=20.0)), _X, op.Softplus(_X)),
    )

    def find(self, node: Node) -> Activation | NoMatch:
        """Above 17 both are the same number in float32."""
        branches = split(node)
        if isinstance(branches, NoMatch):
            return branches
        softplus = producer(branches.below, "Softplus")
        if softplus is None or softplus.inputs[0] is not branches.x or branches.above is not branches.x:
            return NoMatch("the branches are not x and softplus(x)")
        return (
            Activation("Softplus", branches.x)
            if branches.number >= 17
            else NoMatch("the threshold is %g", branches.number)
        )


class FuseSoftsign(RecognizeActivation):
    """x / (1 + Abs(x)) -> Softsign(x)."""

    name: ClassVar[str] = "fuse-softsign"
    roots: ClassVar[tuple[str, ...]] = ("Div",)
    reach: ClassVar[int] = 3
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Div(_X, op.Add(_ONE, op.Abs(_X))),
        op.Div(_X, op.Add(op.Abs(_X), _ONE)),
    )

    def find(self, node: Node) -> Activation | NoMatch:
        """Exactly one must be added."""
        x, divisor = node.inputs[0], node.inputs[1]
        for step in () if x is None or divisor is None else affine_steps(divisor):
            absolute = producer(step.value, "Abs")
            if absolute is not None and absolute.inputs[0] is x and step.scale == step.offset == 1:
                return Activation("Softsign", x)  # type: ignore[arg-type]  # it is there, or there were no steps
        return NoMatch("no x / (1 + |x|)")


@dataclass(frozen=True, slots=True)
class _Decay:
    """``alpha * (exp(x / width) - 1)``, which Elu (``width`` 1) and Celu (``width`` ``alpha``) are where ``x`` is negative."""

    alpha: float
    width: float

    def of(self, x: Value, opset: int) -> Activation | NoMatch:
        """The operator with this branch."""
        if self.width == 1:
            return Activation("Elu", x, {"alpha": self.alpha})
        if opset < 12 or x.dtype is not DType.FLOAT or not is_close(self.width, self.alpha, x.dtype):
            return NoMatch("no Elu has width %g, no Celu alpha %g", self.width, self.alpha)
        return Activation("Celu", x, {"alpha": self.alpha})


def _decay(value: Value, x: Value) -> _Decay | None:
    """A value as such a function of ``x``."""
    for step in affine_steps(value):
        exp = producer(step.value, "Exp")
        if exp is not None:
            inner = linear_in(exp.inputs[0], x)
            if inner is None or inner[0] <= 0 or inner[1] != 0 or step.offset != -step.scale:
                return None
            return _Decay(step.scale, 1 / inner[0])
    return None


class FuseElu(RecognizeActivation):
    """Where(x > 0, x, a * (Exp(x) - 1)) -> Elu[a](x), Where(x > 0, x, a * (Exp(x / a) - 1)) -> Celu[a](x)."""

    name: ClassVar[str] = "fuse-elu"
    roots: ClassVar[tuple[str, ...]] = ("Where", "Add")
    reach: ClassVar[int] = 6
    min_opset: ClassVar[int] = 9
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Where(op.Greater(_X, _ZERO), _X, op.Sub(op.Exp(_X), _ONE)),
        op.Where(op.Less(_X, _ZERO), op.Mul(op.Sub(op.Exp(_X), _ONE), const("alpha", scalar=True, equal_to=1.5)), _X),
        op.Add(op.Relu(_X), op.Min(op.Sub(op.Exp(_X), _ONE), _ZERO)),
        op.Where(
            op.Greater(_X, _ZERO),
            _X,
            op.Mul(
                op.Sub(op.Exp(op.Div(_X, const("width", scalar=True, equal_to=2.0))), _ONE),
                const("alpha", scalar=True, equal_to=2.0),
            ),
        ),
    )

    def find(self, node: Node) -> Activation | NoMatch:
        """Two branches, or the sum of both parts."""
        if node.op == "Add":
            return self._sum(node)
        branches = split(node)
        if isinstance(branches, NoMatch):
            return branches
        decay = _decay(branches.below, branches.x)
        if branches.number != 0 or branches.above is not branches.x or decay is None:
            return NoMatch("the branches are not x and a * (exp(x) - 1)")
        return decay.of(branches.x, node.opset or 0)

    def _sum(self, node: Node) -> Activation | NoMatch:
        for one in node.inputs:
            other = None if one is None else other_operand(node, one)
            positive = bounded(producer(one, "Relu", "Max", "Clip"))
            negative = bounded(producer(other, "Min", "Clip"))
            if positive is None or negative is None:
                continue
            decay = _decay(negative[0], positive[0])
            if positive[1] == Bounds(0.0, None) and negative[1] == Bounds(None, 0.0) and decay and decay.alpha > 0:
                return decay.of(positive[0], node.opset or 0)
        return NoMatch("no relu(x) + min(a * (exp(x) - 1), 0)")


class FuseSelu(RecognizeActivation):
    """gamma * Elu[alpha](x) -> Selu(x), for the two numbers of Selu."""

    name: ClassVar[str] = "fuse-selu"
    roots: ClassVar[tuple[str, ...]] = ("Mul",)
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Mul(op.Elu(_X, alpha=_SELU[0]), const("gamma", scalar=True, equal_to=_SELU[1])),
    )

    def find(self, node: Node) -> Activation | NoMatch:
        """Other multiples of Elu can be scaled into what comes next."""
        for step in scaled_steps(node.output):
            elu = producer(step.value, "Elu")
            x = None if elu is None else elu.inputs[0]
            if elu is None or x is None:
                continue
            if is_close(elu.float_attr("alpha"), _SELU[0], None) and is_close(step.scale, _SELU[1], x.dtype):
                return Activation("Selu", x)
        return NoMatch("no gamma * elu(x)")


class FuseThresholdedRelu(RecognizeActivation):
    """Where(x > a, x, 0) -> ThresholdedRelu[a](x)."""

    name: ClassVar[str] = "fuse-thresholded-relu"
    roots: ClassVar[tuple[str, ...]] = ("Where",)
    reach: ClassVar[int] = 2
    min_opset: ClassVar[int] = 10
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Where(op.Greater(_X, _ZERO), _X, const("nothing", scalar=True, equal_to=0.0)),
        op.Where(
            op.Greater(_X, const("threshold", scalar=True, equal_to=1.5)),
            _X,
            const("nothing", scalar=True, equal_to=0.0),
        ),
    )

    def find(self, node: Node) -> Activation | NoMatch:
        """At the threshold itself it must be zero."""
        branches = split(node)
        if isinstance(branches, NoMatch):
            return branches
        if branches.above is not branches.x or scalar(branches.below) != 0:
            return NoMatch("the branches are not x and zero")
        if not branches.strict or branches.number < 0:
            return NoMatch("the threshold itself is kept, or it is negative")
        return Activation("ThresholdedRelu", branches.x, {"alpha": branches.number})
