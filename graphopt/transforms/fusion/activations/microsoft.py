"""Recognizes the activations that ONNX Runtime has of its own, for models whose opset has no standard operator.

Gelu by the error function -> ``com.microsoft::Gelu``, by tanh -> ``com.microsoft::FastGelu``, ``x * sigmoid(a * x)`` ->
``com.microsoft::QuickGelu[alpha=a]`` (Silu for 1). float32 only, the type of their kernels. ONNX Runtime makes the last one itself when it
loads a model: between convolutions both run in the blocked layout at the same speed. Numerics: re-associates. Source: ONNX Runtime's
docs/ContribOperators.md
"""

from __future__ import annotations

from typing import ClassVar, Final

from graphopt.ir import DType, Node
from graphopt.rewriting import NoMatch, Pattern, any_, const, op
from graphopt.transforms.fusion.activations.gelu import ERF_CONTEXTS, TANH_CONTEXTS, erf_gelu, tanh_gelu
from graphopt.transforms.fusion.activations.sigmoids import sigmoid_gate
from graphopt.transforms.fusion.activations.unary_rule import Activation, RecognizeActivation

__all__ = ["FuseMicrosoftFastGelu", "FuseMicrosoftGelu", "FuseMicrosoftQuickGelu"]

_FLOAT: Final = frozenset({DType.FLOAT})
_X = any_("x")


class FuseMicrosoftGelu(RecognizeActivation):
    """x * (1 + Erf(x / sqrt(2))) / 2 -> com.microsoft::Gelu(x)."""

    name: ClassVar[str] = "fuse-microsoft-gelu"
    roots: ClassVar[tuple[str, ...]] = ("Mul", "Div")
    reach: ClassVar[int] = 5
    dtypes: ClassVar[frozenset[DType]] = _FLOAT
    makes: ClassVar[str] = "com.microsoft::Gelu"
    contexts: ClassVar[tuple[Pattern, ...]] = ERF_CONTEXTS

    def find(self, node: Node) -> Activation | NoMatch:
        """By the error function."""
        x = erf_gelu(node)
        return x if isinstance(x, NoMatch) else Activation(self.makes, x)


class FuseMicrosoftFastGelu(RecognizeActivation):
    """x * (1 + Tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2 -> com.microsoft::FastGelu(x)."""

    name: ClassVar[str] = "fuse-microsoft-fast-gelu"
    roots: ClassVar[tuple[str, ...]] = ("Mul", "Div")
    reach: ClassVar[int] = 8
    dtypes: ClassVar[frozenset[DType]] = _FLOAT
    makes: ClassVar[str] = "com.microsoft::FastGelu"
    contexts: ClassVar[tuple[Pattern, ...]] = TANH_CONTEXTS

    def find(self, node: Node) -> Activation | NoMatch:
        """By tanh."""
        x = tanh_gelu(node)
        if isinstance(x, NoMatch):
            return x
        return Activation(self.makes, x) if x.rank else NoMatch("its kernel needs an axis")


class FuseMicrosoftQuickGelu(RecognizeActivation):
    """x * Sigmoid(a * x) -> com.microsoft::QuickGelu[a](x)."""

    name: ClassVar[str] = "fuse-microsoft-quick-gelu"
    roots: ClassVar[tuple[str, ...]] = ("Mul", "Div")
    reach: ClassVar[int] = 4
    dtypes: ClassVar[frozenset[DType]] = _FLOAT
    makes: ClassVar[str] = "com.microsoft::QuickGelu"
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Mul(_X, op.Sigmoid(_X)),
        op.Mul(op.Sigmoid(op.Mul(_X, const("alpha", scalar=True, equal_to=1.702))), _X),
    )

    def find(self, node: Node) -> Activation | NoMatch:
        """Any factor of the argument."""
        found = sigmoid_gate(node)
        return found if isinstance(found, NoMatch) else Activation(self.makes, found[0], {"alpha": found[1]})
