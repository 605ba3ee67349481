"""Layers that are to stay floats between integers, spelled so that ONNX Runtime leaves them that.

ONNX Runtime (1.32, from its basic level on) quantizes the weights of a Conv or Gemm of floats whose input comes from a DequantizeLinear
and whose result goes to a QuantizeLinear, with one scale for all of the weight: what was left in floats for the sake of accuracy is then
the worst layer of all. It does not know its own fused operators there. FusedConv without an activation is Conv; FusedGemm has to have one,
and LeakyRelu with a slope of 1 changes nothing. Source: experiments, see tests/transforms/quantization/static/test_keep_floats.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from graphopt.ir import DType, Node, Value
from graphopt.numerics import Exact, Numerics
from graphopt.rewriting import NoMatch, Replacement, RewritePattern, Rewriter, Rule
from graphopt.transforms.fusion.kernel_pass import KernelPass
from graphopt.transforms.quantization.spelled_weights import read_weight

__all__ = ["KeepFloatLayers"]

#: What may stand between a layer and the QuantizeLinear behind it.
_ACTIVATIONS: Final = frozenset({"Clip", "Relu"})


class _Keep(RewritePattern):
    """A layer of floats between integers."""

    numerics: ClassVar[Numerics] = Exact()
    reach: ClassVar[int] = 2
    makes: ClassVar[str] = ""

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """The same inputs and attributes under another name."""
        data, weight = node.input_at(0), node.input_at(1)
        if data is None or data.producer is None or data.producer.op_type != "DequantizeLinear":
            return NoMatch("its input does not come from stored integers")
        if data.dtype is not DType.FLOAT:
            return NoMatch("it is of %s", data.dtype)
        spelled = read_weight(weight)
        if spelled is None:
            return NoMatch("its weight is not constant")
        if spelled.is_dequantized:
            return NoMatch("its weight is stored as integers, for a product of these")
        if not _is_stored(node.output):
            return NoMatch("its result is not stored as integers")
        attributes: dict[str, object] = dict(node.attributes)
        made = rw.new_node(self.makes, node.inputs, attributes={**attributes, **self.added()})
        made.output.type = node.output.type
        return made.output

    def added(self) -> dict[str, object]:
        """Attributes beside those of the node."""
        return {}


def _is_stored(value: Value) -> bool:
    """Whether a QuantizeLinear reads a value, or what an activation makes of it."""
    for user in value.users:
        if user.op_type == "QuantizeLinear":
            return True
        if user.op in _ACTIVATIONS and any(after.op_type == "QuantizeLinear" for after in user.output.users):
            return True
    return False


class KeepFloatConv(_Keep):
    """Conv of floats between DequantizeLinear and QuantizeLinear -> com.microsoft.FusedConv without an activation."""

    name: ClassVar[str] = "keep-float-conv"
    roots: ClassVar[tuple[str, ...]] = ("Conv",)
    makes: ClassVar[str] = "com.microsoft::FusedConv"


class KeepFloatGemm(_Keep):
    """Gemm of floats between DequantizeLinear and QuantizeLinear -> com.microsoft.FusedGemm with an activation that changes nothing."""

    name: ClassVar[str] = "keep-float-gemm"
    roots: ClassVar[tuple[str, ...]] = ("Gemm",)
    makes: ClassVar[str] = "com.microsoft::FusedGemm"

    def added(self) -> dict[str, object]:
        """LeakyRelu with a slope of 1."""
        return {"activation": "LeakyRelu", "activation_alpha": 1.0}


@dataclass(frozen=True)
class KeepFloatLayers(KernelPass):
    """Spell layers of floats between integers so that ONNX Runtime does not quantize them by itself, where the target can."""

    name: ClassVar[str] = "keep-float-layers"
    rules: ClassVar[tuple[Rule, ...]] = (KeepFloatConv(), KeepFloatGemm())
