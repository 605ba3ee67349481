"""The pass that stores weights as integers of 4 to 16 bits, by rounding to nearest. Needs no data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

import msgspec

from graphopt.ir import DType, Graph, Model
from graphopt.numerics import Lossy, Numerics
from graphopt.passes import PassContext, PassResult, RewritePass
from graphopt.rewriting import Rule, RuleIndex, rewrite_graph
from graphopt.transforms.quantization.layers import Selection
from graphopt.transforms.quantization.weight_only.form import Spelling, StoredWeights
from graphopt.transforms.quantization.weight_only.layer_rules import (
    StoreConvWeights,
    StoreProductWeights,
    StoreRecurrentWeights,
)
from graphopt.transforms.quantization.weight_only.table_rule import BLOCKED_GATHER, StoreTable

__all__ = ["QuantizeWeights"]

#: Version of the file format that has tensors of 4 bits.
_SMALL_NUMBERS: Final = 10


@dataclass(frozen=True)
class QuantizeWeights(RewritePass):
    """Store the weights of MatMul, Gemm, Conv, ConvTranspose, LSTM, GRU and the tables of Gather as integers; arithmetic stays in floats.

    With ``spelling=multiply`` a runtime that folds constants, as ONNX Runtime does when it loads a model, computes on floats by the same
    kernels as before: the file is smaller, the speed is the same.

    Ranges are chosen by squared error; parameters that a weight has already are kept. Convolutions are left alone with 4 bits. Touches
    weights; needs types, no data; idempotent. Numerics: lossy.

    Attributes:
        dtype: stored type; those of 4 bits need opset 21, and so does int16 with ``dequantize``.
        block: weights that share a scale, 0 for all of an output channel (or row of a table); ``null`` for 32 of 4 bits and a channel of 8.
            Blocks need opset 21.
        symmetric: whether the zero point is 0, or the middle of an unsigned type; else each scale has one of its own.
        spelling: ``dequantize`` for DequantizeLinear, which runtimes may multiply by without making floats; ``multiply`` for
            ``Mul(Cast(w8), s)`` of weights of 8 or 16 bits that have neither blocks nor zero points, which LSTM and GRU always get.
        include: layers to work on, by name, pattern or ``op:MatMul``; all if empty.
        exclude: layers to leave as they are.
    """

    name: ClassVar[str] = "quantize-weights"
    numerics: ClassVar[Numerics] = Lossy()
    may_change: ClassVar[tuple[str, ...]] = ("ir_version",)
    rules: ClassVar[tuple[Rule, ...]] = (
        StoreProductWeights(),
        StoreConvWeights(),
        StoreRecurrentWeights(),
        StoreTable(),
    )
    dtype: Literal["int8", "uint8", "int4", "uint4", "int16"] = "int8"
    block: Annotated[int, msgspec.Meta(ge=0)] | None = None
    symmetric: bool = True
    spelling: Spelling = "dequantize"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def active_rules(self) -> tuple[Rule, ...]:
        """All rules, with the options of this pass."""
        return self._rules(has_blocked_kernel=True)

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Apply the rules everywhere in a graph."""
        if not ctx.target.has_kernel("DequantizeLinear"):
            return PassResult(changed=False)
        rules = self._rules(has_blocked_kernel=ctx.target.has_kernel(BLOCKED_GATHER))
        result = rewrite_graph(
            graph, RuleIndex(rules), inference=ctx.types, applications=ctx.applications, explain=ctx.explain
        )
        owner = graph.owner
        if result.changed and isinstance(owner, Model) and _has_small_numbers(graph):
            owner.ir_version = max(owner.ir_version, _SMALL_NUMBERS)
        return PassResult(changed=result.changed, stats=dict(result.applied))

    def _rules(self, *, has_blocked_kernel: bool) -> tuple[Rule, ...]:
        form = StoredWeights(
            Selection(self.include, self.exclude), DType[self.dtype.upper()], self.block, self.symmetric, self.spelling
        )
        table = StoreTable(form, has_blocked_kernel)
        return StoreProductWeights(form), StoreConvWeights(form), StoreRecurrentWeights(form), table


def _has_small_numbers(graph: Graph) -> bool:
    """Whether a graph has constants of 4 bits."""
    constants = (value.const for inner in graph.walk_graphs() for value in inner.initializers())
    return any(item is not None and item.dtype in (DType.INT4, DType.UINT4) for item in constants)
