"""Spells out activations by arithmetic, for targets that lack them: the inverse of ``fuse-activations``.

Gelu by Erf or Tanh; HardSwish by HardSigmoid, this by Clip; Swish by Sigmoid, this by Exp; Mish by Tanh and Softplus, this as ``max(x, 0) +
log(1 + exp(-|x|))``, which never overflows; LeakyRelu, PRelu, Elu, Selu, Celu, ThresholdedRelu by Where; Softsign. The operators that ONNX
Runtime has of its own, too. Numerics: re-associates (numbers near zero lose digits against the largest).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from graphopt.ir import Node, Value
from graphopt.rewriting import NoMatch, Rule
from graphopt.transforms.decompose.spelling import DecomposePass, Spelling, SpellOut

__all__ = ["DecomposeActivations"]


class SpellOutGelu(SpellOut):
    """Gelu(x) -> x * (1 + Erf(x / sqrt(2))) / 2, or by Tanh where it is approximate."""

    name: ClassVar[str] = "spell-out-gelu"
    roots: ClassVar[tuple[str, ...]] = ("Gelu", "com.microsoft::Gelu", "com.microsoft::FastGelu")

    def spell(self, x: Value, node: Node, make: Spelling) -> Value | NoMatch:
        """FastGelu may have a bias, which other rules are for."""
        if node.input_at(1) is not None:
            return NoMatch("it adds a bias")
        half = make.of("Mul", x, 0.5)
        if node.op == "com.microsoft::FastGelu" or node.str_attr("approximate", "none") == "tanh":
            cube = make.of("Mul", make.of("Mul", x, x), x)
            inner = make.of("Mul", make.of("Add", x, make.of("Mul", cube, 0.044715)), math.sqrt(2 / math.pi))
            return make.of("Mul", half, make.of("Add", make.of("Tanh", inner), 1.0))
        erf = make.of("Erf", make.of("Mul", x, math.sqrt(0.5)))
        return make.of("Mul", half, make.of("Add", erf, 1.0))


class SpellOutHardSwish(SpellOut):
    """HardSwish(x) -> x * HardSigmoid[1/6, 1/2](x)."""

    name: ClassVar[str] = "spell-out-hard-swish"
    roots: ClassVar[tuple[str, ...]] = ("HardSwish",)

    def spell(self, x: Value, node: Node, make: Spelling) -> Value | NoMatch:
        """As the operator is defined."""
        return make.of("Mul", x, make.of("HardSigmoid", x, alpha=1 / 6, beta=0.5))


class SpellOutHardSigmoid(SpellOut):
    """HardSigmoid[a, b](x) -> Clip(a * x + b, 0, 1)."""

    name: ClassVar[str] = "spell-out-hard-sigmoid"
    roots: ClassVar[tuple[str, ...]] = ("HardSigmoid",)

    def spell(self, x: Value, node: Node, make: Spelling) -> Value | NoMatch:
        """Bounds as the opset spells them."""
        ramp = make.of("Add", make.of("Mul", x, node.float_attr("alpha", 0.2)), node.float_attr("beta", 0.5))
        if (node.opset or 0) < 11:
            return make.of("Clip", ramp, min=0.0, max=1.0)
        return make.of("Clip", ramp, 0.0, 1.0)


class SpellOutSwish(SpellOut):
    """Swish[a](x) -> x * Sigmoid(a * x)."""

    name: ClassVar[str] = "spell-out-swish"
    roots: ClassVar[tuple[str, ...]] = ("Swish", "com.microsoft::QuickGelu")

    def spell(self, x: Value, node: Node, make: Spelling) -> Value | NoMatch:
        """QuickGelu has another default."""
        alpha = node.float_attr("alpha", 1.702 if node.domain else 1.0)
        return make.of("Mul", x, make.of("Sigmoid", x if alpha == 1 else make.of("Mul", x, alpha)))


class SpellOutSigmoid(SpellOut):
    """Sigmoid(x) -> 1 / (1 + Exp(-x))."""

    name: ClassVar[str] = "spell-out-sigmoid"
    roots: ClassVar[tuple[str, ...]] = ("Sigmoid",)

    def spell(self, x: Value, node: Node, make: Spelling) -> Value | NoMatch:
        """Where Exp overflows it is zero, as it should be."""
        return make.of("Div", 1.0, make.of("Add", make.of("Exp", make.of("Neg", x)), 1.0))


class SpellOutMish(SpellOut):
    """Mish(x) -> x * Tanh(Softplus(x))."""

    name: ClassVar[str] = "spell-out-mish"
    roots: ClassVar[tuple[str, ...]] = ("Mish",)

    def spell(self, x: Value, node: Node, make: Spelling) -> Value | NoMatch:
        """As the operator is defined."""
        return make.of("Mul", x, make.of("Tanh", make.of("Softplus", x)))


class SpellOutSoftplus(SpellOut):
    """Softplus(x) -> Relu(x) + Log(1 + Exp(-Abs(x)))."""

    name: ClassVar[str] = "spell-out-softplus"
    roots: ClassVar[tuple[str, ...]] = ("Softplus",)

    def spell(self, x: Value, node: Node, make: Spelling) -> Value | NoMatch:
        """In the form that does not overflow."""
        rest = make.of("Log", make.of("Add", make.of("Exp", make.of("Neg", make.of("Abs", x))), 1.0))
        return make.of("Add", make.of("Relu", x), rest)


class SpellOutSoftsign(SpellOut):
    """Softsign(x) -> x / (1 + Abs(x))."""

    name: ClassVar[str] = "spell-out-softsign"
    roots: ClassVar[tuple[str, ...]] = ("Softsign",)

    def spell(self, x: Value, node: Node, make: Spelling) -> Value | NoMatch:
        """As the operator is defined."""
        return make.of("Div", x, make.of("Add", make.of("Abs", x), 1.0))


def _where_positive(x: Value, below: Value, make: Spelling) -> Value:
    return make.of("Where", make.of("Greater", x, 0.0), x, below)


class SpellOutLeakyRelu(SpellOut):
    """LeakyRelu[a](x) -> Where(x > 0, x, a * x), PRelu likewise."""

    name: ClassVar[str] = "spell-out-leaky-relu"
    roots: ClassVar[tuple[str, ...]] = ("LeakyRelu", "PRelu")

    def spell(self, x: Value, node: Node, make: Spelling) -> Value | NoMatch:
        """With the slope as a number or as a tensor."""
        if node.op == "LeakyRelu":
            return _where_positive(x, make.of("Mul", x, node.float_attr("alpha", 0.01)), make)
        slope = node.input_at(1)
        return NoMatch("there is no slope") if slope is None else _where_positive(x, make.of("Mul", x, slope), make)


class SpellOutElu(SpellOut):
    """Elu[a](x) -> Where(x > 0, x, a * (Exp(x) - 1)); Celu likewise."""

    name: ClassVar[str] = "spell-out-elu"
    roots: ClassVar[tuple[str, ...]] = ("Elu", "Celu")

    def spell(self, x: Value, node: Node, make: Spelling) -> Value | NoMatch:
        """Celu is continuous in its slope."""
        alpha = node.float_attr("alpha", 1.0)
        inner = x if node.op == "Elu" else make.of("Div", x, alpha)
        return _where_positive(x, make.of("Mul", make.of("Sub", make.of("Exp", inner), 1.0), alpha), make)


class SpellOutSelu(SpellOut):
    """Selu[a, g](x) -> g * Elu[a](x)."""

    name: ClassVar[str] = "spell-out-selu"
    roots: ClassVar[tuple[str, ...]] = ("Selu",)

    def spell(self, x: Value, node: Node, make: Spelling) -> Value | NoMatch:
        """As the operator is defined."""
        return make.of("Mul", make.of("Elu", x, alpha=node.float_attr("alpha")), node.float_attr("gamma"))


class SpellOutThresholdedRelu(SpellOut):
    """ThresholdedRelu[a](x) -> Where(x > a, x, 0)."""

    name: ClassVar[str] = "spell-out-thresholded-relu"
    roots: ClassVar[tuple[str, ...]] = ("ThresholdedRelu",)
    min_opset: ClassVar[int] = 10

    def spell(self, x: Value, node: Node, make: Spelling) -> Value | NoMatch:
        """As the operator is defined."""
        return make.of("Where", make.of("Greater", x, node.float_attr("alpha", 1.0)), x, 0.0)


@dataclass(frozen=True)
class DecomposeActivations(DecomposePass):
    """Spell out activations by arithmetic, for targets that lack their operators. Re-associates.

    Attributes:
        ops: operators to spell out, all that the pass knows when there are none.
        lacking: whether only those are spelled out that the target has no kernel for.
    """

    name: ClassVar[str] = "decompose-activations"
    rules: ClassVar[tuple[Rule, ...]] = (
        SpellOutGelu(),
        SpellOutHardSwish(),
        SpellOutHardSigmoid(),
        SpellOutSwish(),
        SpellOutSigmoid(),
        SpellOutMish(),
        SpellOutSoftplus(),
        SpellOutSoftsign(),
        SpellOutLeakyRelu(),
        SpellOutElu(),
        SpellOutSelu(),
        SpellOutThresholdedRelu(),
    )
