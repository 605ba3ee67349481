"""Recognizes Elu, Celu and Selu.

``Where(x > 0, x, a * (Exp(x) - 1)) -> Elu[a](x)``, and so for ``Relu(x) + Min(a * (Exp(x) - 1), 0)``; with ``Exp(x / a)`` it is Celu, and
the multiple of an Elu that has the two numbers of Selu is that. Numerics: re-associates. Source: Klambauer et al., Self-Normalizing Neural
Networks, 2017; https://onnx.ai/onnx/operators/onnx__Elu.html, onnx__Celu.html, onnx__Selu.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.ir import DType, Node, Value
from graphopt.rewriting import NoMatch, Pattern, any_, const, op
from graphopt.transforms.canonicalize.clips import Bounds
from graphopt.transforms.expressions import affine_steps, is_close, other_operand, producer, scaled_steps
from graphopt.transforms.fusion.activations.bounds import bounded
from graphopt.transforms.fusion.activations.branches import split
from graphopt.transforms.fusion.activations.gates import linear_in
from graphopt.transforms.fusion.activations.unary_rule import Activation, RecognizeActivation

__all__ = ["FuseElu", "FuseSelu"]

_X = any_("x")
_ONE = const("one", scalar=True, equal_to=1.0)
_ZERO = const("zero", scalar=True, equal_to=0.0)
_SELU = (1.67326319217681884765625, 1.05070102214813232421875)


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
