"""ONNX Runtime's fused operators that are layers, or a layer and an activation: Gelu, FastGelu, QuickGelu, FusedConv, FusedGemm.

Source: ONNX Runtime's docs/ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphopt.backends.tensorrt.converters.convolution import conv, conv_supports
from graphopt.backends.tensorrt.converters.matrices import gemm
from graphopt.backends.tensorrt.converters.operands import all_of, floats_only
from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.protocols import Tensor
from graphopt.backends.tensorrt.registry import lower
from graphopt.ir import Node

__all__ = ["fast_gelu", "fused_conv", "fused_gelu", "fused_gemm", "quick_gelu"]

_PLAIN = {"": None, "Relu": "RELU", "Sigmoid": "SIGMOID", "Tanh": "TANH"}
_WITH_NUMBERS = {"LeakyRelu": "LEAKY_RELU", "HardSigmoid": "HARD_SIGMOID", "Clip": "CLIP"}


@lower("com.microsoft::Gelu", supports=floats_only)
def fused_gelu(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One activation layer."""
    return [e.activation(e.input(node, 0), "GELU_ERF")]


@lower("com.microsoft::FastGelu", supports=floats_only)
def fast_gelu(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One activation layer, of the sum with a bias."""
    x, bias = e.input(node, 0), e.optional(node, 1)
    return [e.activation(x if bias is None else e.elementwise(x, bias, "SUM"), "GELU_TANH")]


@lower("com.microsoft::QuickGelu", supports=floats_only)
def quick_gelu(e: Emitter, node: Node) -> Sequence[Tensor]:
    """X * sigmoid(alpha * x)."""
    x, alpha = e.input(node, 0), node.float_attr("alpha", 1.702)
    scaled = x if alpha == 1 else e.elementwise(x, e.scalar_like(alpha, x), "PROD")
    return [e.elementwise(x, e.activation(scaled, "SIGMOID"), "PROD")]


def _known_activation(node: Node) -> str | None:
    name = node.str_attr("activation")
    return None if name in _PLAIN or name in _WITH_NUMBERS else f"the activation {name!r}"


def _activated(e: Emitter, x: Tensor, name: str, numbers: Sequence[float]) -> Tensor:
    if name in _WITH_NUMBERS:
        return e.activation(x, _WITH_NUMBERS[name], *numbers)
    kind = _PLAIN[name]
    return x if kind is None else e.activation(x, kind)


@lower("com.microsoft::FusedConv", supports=all_of(conv_supports, _known_activation))
def fused_conv(e: Emitter, node: Node) -> Sequence[Tensor]:
    """A convolution, plus another tensor where there is one, then the activation."""
    [found] = conv(e, node)
    assert found is not None, "a convolution gives a tensor"
    added = e.optional(node, 3)
    if added is not None:
        found = e.elementwise(found, added, "SUM")
    numbers = node.attr("activation_params") or ()
    return [_activated(e, found, node.str_attr("activation"), [float(item) for item in numbers])]  # type: ignore[union-attr, arg-type]  # floats


@lower("com.microsoft::FusedGemm", supports=all_of(floats_only, _known_activation))
def fused_gemm(e: Emitter, node: Node) -> Sequence[Tensor]:
    """A product, then the activation."""
    [found] = gemm(e, node)
    assert found is not None, "a product gives a tensor"
    numbers = [node.float_attr(name) for name in ("activation_alpha", "activation_beta") if name in node.attributes]
    return [_activated(e, found, node.str_attr("activation"), numbers)]
