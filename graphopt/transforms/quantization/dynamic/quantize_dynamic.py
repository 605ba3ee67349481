"""The pass that makes layers dynamic: weights int8, activations quantized as they come. Needs no data.

Products with a constant matrix, LSTMs, and ONNX Runtime's Attention with its projections. Not convolutions: ConvInteger of ONNX Runtime
takes several times as long as Conv on floats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import msgspec

from graphopt.ir import Graph
from graphopt.numerics import Lossy, Numerics
from graphopt.passes import PassContext, PassResult, RewritePass
from graphopt.rewriting import Rule, RuleIndex, rewrite_graph
from graphopt.target import Target
from graphopt.transforms.quantization.dynamic.attention import QuantizeAttention
from graphopt.transforms.quantization.dynamic.form import Int8Weights
from graphopt.transforms.quantization.dynamic.lstm import QuantizeLstm
from graphopt.transforms.quantization.dynamic.product import QuantizeProduct
from graphopt.transforms.quantization.dynamic.refusal import NEEDED_FOR_PRODUCTS
from graphopt.transforms.quantization.layers import Selection

__all__ = ["QuantizeDynamic"]

_Rule = QuantizeProduct | QuantizeLstm | QuantizeAttention


@dataclass(frozen=True)
class QuantizeDynamic(RewritePass):
    """Multiply by int8 weights, with activations quantized as they come: MatMul, Gemm; LSTM and Attention by target.

    Touches weights; needs types, no data; idempotent. Numerics: lossy.

    Attributes:
        include: layers to work on, by name, pattern or ``op:MatMul``; all if empty.
        exclude: layers to leave as they are.
        per_channel: whether each output channel has a scale of its own.
        symmetric: whether weights have the zero point 0; else each scale has one of its own.
        reduce_range: whether weights keep to 7 of 8 bits; ``null`` does what the target wants.
        least_gain: layers that are estimated to gain less in speed stay as they are, unless nothing is known of their sizes; 1.1, say.
    """

    name: ClassVar[str] = "quantize-dynamic"
    numerics: ClassVar[Numerics] = Lossy()
    rules: ClassVar[tuple[Rule, ...]] = (QuantizeProduct(), QuantizeLstm(), QuantizeAttention())
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    per_channel: bool = True
    symmetric: bool = True
    reduce_range: bool | None = None
    least_gain: Annotated[float, msgspec.Meta(ge=0)] = 0.0

    def active_rules(self) -> tuple[Rule, ...]:
        """All rules, with the options of this pass; what the target wants is not known here."""
        return self._rules(bool(self.reduce_range))

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Apply those rules whose operators the target runs."""
        scheme = ctx.target.quantization
        reduce_range = self.reduce_range
        if reduce_range is None:
            reduce_range = scheme is not None and scheme.reduce_range
        rules = tuple(rule for rule in self._rules(reduce_range) if _runs(ctx.target, rule))
        if not rules:
            return PassResult(changed=False)
        result = rewrite_graph(
            graph, RuleIndex(rules), inference=ctx.types, applications=ctx.applications, explain=ctx.explain
        )
        return PassResult(changed=result.changed, stats=dict(result.applied))

    def _rules(self, reduce_range: bool) -> tuple[_Rule, ...]:
        form = Int8Weights(
            Selection(self.include, self.exclude), self.per_channel, self.symmetric, reduce_range, self.least_gain
        )
        return QuantizeProduct(form), QuantizeLstm(form), QuantizeAttention(form)


def _runs(target: Target, rule: _Rule) -> bool:
    needed = NEEDED_FOR_PRODUCTS if isinstance(rule, QuantizeProduct) else (rule.makes,)
    return all(target.has_kernel(name) for name in needed)
