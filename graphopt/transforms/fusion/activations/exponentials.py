"""Recognizes activations that are spelled with exp, log and abs, and those with a threshold.

``Log(1 + Exp(x)) -> Softplus(x)``, float32 only: it is ``x`` where the spelling overflows to infinity, beyond 88; its stable form
``Relu(x) + Softplus(-|x|) -> Softplus(x)``, and torch's, which is ``x`` itself above 20; ``x / (1 + |x|) -> Softsign(x)``;
``Where(x > a, x, 0) -> ThresholdedRelu[a](x)``, which is 0 where ``x`` is NaN, unlike Relu. ``Log(Softmax(x))`` stays: it is minus infinity
where LogSoftmax is a number, which models with masks depend on. Numerics: re-associates. Source:
https://onnx.ai/onnx/operators/onnx__Softplus.html
"""

from __future__ import annotations

from typing import ClassVar

from graphopt.ir import DType, Node
from graphopt.rewriting import NoMatch, Pattern, any_, const, op
from graphopt.transforms.canonicalize.clips import Bounds
from graphopt.transforms.expressions import affine_steps, other_operand, producer, scalar, scaled_steps
from graphopt.transforms.fusion.activations.bounds import bounded
from graphopt.transforms.fusion.activations.branches import split
from graphopt.transforms.fusion.activations.sigmoids import exp_plus_one
from graphopt.transforms.fusion.activations.unary_rule import Activation, RecognizeActivation

__all__ = ["FuseSoftplus", "FuseSoftsign", "FuseStableSoftplus", "FuseThresholdedRelu", "FuseThresholdedSoftplus"]

_X = any_("x")
_ONE = const("one", scalar=True, equal_to=1.0)
_ZERO = const("zero", scalar=True, equal_to=0.0)


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
