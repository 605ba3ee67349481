"""Recognizes the piecewise linear HardSigmoid and HardSwish.

``s * clip(a * x + b, 0, h) -> HardSigmoid[s * a, s * b](x)`` where ``s * h`` is 1, as in ``clip(x + 3, 0, 6) / 6``; ``x`` times that is
HardSwish from opset 14 on where ``s * a`` is 1/6 and ``s * b`` a half, and ``x * HardSigmoid(x)`` else. ONNX Runtime runs both inside a
convolution in its blocked layout; Clip and the products between convolutions cost a change of layout each. Where ``x * clip(x + 3, 0,
6)`` overflows before it is divided, the new form does not. Numerics: re-associates. Source:
https://onnx.ai/onnx/operators/onnx__HardSwish.html, onnx__HardSigmoid.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final

from graphopt.ir import Node
from graphopt.rewriting import NoMatch, Pattern, any_, const, op
from graphopt.transforms.canonicalize.clips import clip_bounds
from graphopt.transforms.expressions import Affine, affine_steps, is_close
from graphopt.transforms.fusion.activations.gates import gated, linear_in
from graphopt.transforms.fusion.activations.unary_rule import Activation, RecognizeActivation

__all__ = ["FuseHardSigmoid", "FuseHardSwish"]

_GATES: Final = frozenset({"Clip", "HardSigmoid"})
_X = any_("x")
_ZERO = const("zero", scalar=True, equal_to=0.0)
_THREE = const("three", scalar=True, equal_to=3.0)
_SIX = const("six", scalar=True, equal_to=6.0)
_CLIPPED = op.Clip(op.Add(_X, _THREE), _ZERO, _SIX)
#: Slope and offset of the gate of HardSwish.
_SWISH: Final = (1 / 6, 0.5)


def _ramp(scale: float, inner: tuple[float, float], gate: Node) -> tuple[float, float] | None:
    """Slope and offset of ``scale * gate`` as a HardSigmoid, where it is one.

    Args:
        scale: what the gate is multiplied with.
        inner: ``(a, b)`` with ``a * x + b`` the input of the gate.
        gate: Clip or HardSigmoid.
    """
    slope, offset = inner
    if gate.op == "HardSigmoid":
        alpha, beta = gate.float_attr("alpha"), gate.float_attr("beta")
        return (alpha * slope, alpha * offset + beta) if is_close(scale, 1.0, None) else None
    bounds = clip_bounds(gate)
    if isinstance(bounds, NoMatch) or bounds.low != 0 or bounds.high is None or not bounds.is_plain or bounds.high <= 0:
        return None
    if not is_close(scale * bounds.high, 1.0, gate.output.dtype):
        return None
    found = slope / bounds.high, offset / bounds.high
    if all(is_close(number, exact, gate.output.dtype) for number, exact in zip(found, _SWISH, strict=True)):
        return _SWISH
    return found


class FuseHardSwish(RecognizeActivation):
    """x * Clip(x + 3, 0, 6) / 6 -> HardSwish(x), x * HardSigmoid(x) before opset 14."""

    name: ClassVar[str] = "fuse-hard-swish"
    roots: ClassVar[tuple[str, ...]] = ("Mul", "Div")
    reach: ClassVar[int] = 5
    benefit: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Div(op.Mul(_X, _CLIPPED), _SIX),
        op.Mul(_X, op.Div(_CLIPPED, _SIX)),
        op.Mul(op.Mul(_X, const("sixth", scalar=True, equal_to=1 / 6)), _CLIPPED),
    )

    def find(self, node: Node) -> Activation | NoMatch:
        """A product of a value and a ramp of it."""
        for found in gated(node, _GATES):
            inner = linear_in(found.gate.inputs[0], found.x)
            ramp = None if inner is None or found.offset != 0 else _ramp(found.scale, inner, found.gate)
            if ramp is None:
                continue
            exact = all(is_close(number, wanted, None) for number, wanted in zip(ramp, _SWISH, strict=True))
            if exact and (node.opset or 0) >= 14:
                return Activation("HardSwish", found.x)
            if found.gate.op == "HardSigmoid" and found.gate.inputs[0] is found.x and found.gate.output in node.inputs:
                return NoMatch("it is x * HardSigmoid(x) already")
            return Activation("HardSigmoid", found.x, {"alpha": ramp[0], "beta": ramp[1]}, times=found.x)
        return NoMatch("no x * clip(a * x + b)")


class FuseHardSigmoid(RecognizeActivation):
    """Clip(a * x + b, 0, 1), Clip(x + 3, 0, 6) / 6 -> HardSigmoid(x)."""

    name: ClassVar[str] = "fuse-hard-sigmoid"
    roots: ClassVar[tuple[str, ...]] = ("Clip", "Mul", "Div")
    reach: ClassVar[int] = 5
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Div(_CLIPPED, _SIX),
        op.Mul(_CLIPPED, const("sixth", scalar=True, equal_to=1 / 6)),
        op.Clip(
            op.Add(op.Mul(_X, const("slope", scalar=True, equal_to=0.25)), const("offset", scalar=True, equal_to=0.5)),
            _ZERO,
            const("one", scalar=True, equal_to=1.0),
        ),
    )

    def find(self, node: Node) -> Activation | NoMatch:
        """The longest ramp whose parts nobody else needs."""
        for outer in _scaled(node):
            gate = outer.value.producer
            if gate is None or gate.op != "Clip" or gate.input_at(0) is None:
                continue
            ramp, x = None, gate.inputs[0]
            assert x is not None, "asked above"
            for step in affine_steps(x):
                ramp, x = (step.scale, step.offset), step.value
                if not x.has_single_use or x.producer is None:
                    break
            if ramp is None or ramp == (1, 0):
                return NoMatch("what is clipped is no multiple or sum")
            found = _ramp(outer.scale, ramp, gate)
            if found is not None:
                return Activation("HardSigmoid", x, {"alpha": found[0], "beta": found[1]})
        return NoMatch("no clip(a * x + b, 0, h) / h")


def _scaled(node: Node) -> Iterator[Affine]:
    """The output of the node as a multiple of a Clip."""
    return (step for step in affine_steps(node.output) if step.offset == 0)
