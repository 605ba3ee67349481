"""Spells out ONNX Runtime's operators for pieces of transformer blocks: the inverse of ``fuse-transformer-ops`` and ``fuse-skip-norms``.

``BiasGelu``, ``EmbedLayerNormalization``, ``FusedMatMul``, ``SkipLayerNormalization`` and ``SkipSimplifiedLayerNormalization`` by standard
operators of the model's opset. Numerics: re-associates. Source: ONNX Runtime's docs/ContribOperators.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.ir import DType, Node, Value
from graphopt.rewriting import NoMatch, Replacement, Rewriter, Rule
from graphopt.transforms.decompose.spelling import DecomposePass, Spelling, SpellOut

__all__ = ["DecomposeTransformerOps"]

_SUM_PLACE = 3
_EMBEDDING_SUM = 2


class SpellOutBiasGelu(SpellOut):
    """com.microsoft::BiasGelu(x, b) -> Gelu(x + b), or by Erf before opset 20."""

    name: ClassVar[str] = "spell-out-bias-gelu"
    roots: ClassVar[tuple[str, ...]] = ("com.microsoft::BiasGelu",)
    dtypes: ClassVar[frozenset[DType]] = frozenset({DType.FLOAT, DType.FLOAT16})

    def spell(self, x: Value, node: Node, make: Spelling) -> Value | NoMatch:
        """The bias is added along the last axis."""
        bias = node.input_at(1)
        if bias is None:
            return NoMatch("it has no bias")
        total = make.of("Add", x, bias)
        if (make.rw.graph.opset() or 0) >= 20:
            return make.of("Gelu", total)
        erf = make.of("Erf", make.of("Mul", total, math.sqrt(0.5)))
        return make.of("Mul", make.of("Mul", total, 0.5), make.of("Add", erf, 1.0))


class SpellOutFusedMatMul(SpellOut):
    """com.microsoft::FusedMatMul[alpha, transA, transB](a, b) -> alpha * MatMul(Transpose(a), Transpose(b))."""

    name: ClassVar[str] = "spell-out-fused-matmul"
    roots: ClassVar[tuple[str, ...]] = ("com.microsoft::FusedMatMul",)
    min_opset: ClassVar[int] = 7

    def spell(self, x: Value, node: Node, make: Spelling) -> Value | NoMatch:
        """Batches that are transposed stay."""
        if node.int_attr("transBatchA", 0) or node.int_attr("transBatchB", 0):
            return NoMatch("batches are transposed")
        factors = []
        for place, attribute in enumerate(("transA", "transB")):
            factor = node.input_at(place)
            rank = None if factor is None else factor.rank
            if factor is None or rank is None:
                return NoMatch("the rank of a factor is not known")
            if node.int_attr(attribute, 0) and rank > 1:
                factor = make.of("Transpose", factor, perm=(*range(rank - 2), rank - 1, rank - 2))
            factors.append(factor)
        product = make.of("MatMul", *factors)
        alpha = node.float_attr("alpha", 1.0)
        return product if alpha == 1 else make.of("Mul", product, alpha)


class SpellOutEmbedLayerNorm(SpellOut):
    """com.microsoft::EmbedLayerNormalization(ids, kinds, w, p, s, ...) -> LayerNormalization(w[ids] + p[places] + s[kinds], ...)."""

    name: ClassVar[str] = "spell-out-embed-layer-norm"
    roots: ClassVar[tuple[str, ...]] = ("com.microsoft::EmbedLayerNormalization",)
    min_opset: ClassVar[int] = 17
    dtypes: ClassVar[frozenset[DType]] = frozenset({DType.INT32})

    def spell(self, x: Value, node: Node, make: Spelling) -> Sequence[Value | None] | NoMatch:
        """Positions in their order are the first rows of their table."""
        kinds, words, positions, segments, gamma, beta = (node.input_at(place) for place in range(1, 7))
        places = node.input_at(8)
        if words is None or positions is None or gamma is None or beta is None or (kinds is None) != (segments is None):
            return NoMatch("a table, scale or bias is absent")
        if any(value.is_used for value in node.outputs[1:_EMBEDDING_SUM]):
            return NoMatch("lengths of masks are used")
        total = make.of("Gather", words, x, axis=0)
        if places is None:
            zero = np.zeros(1, np.int64)
            length = make.of("Shape", x, start=1, end=2)
            total = make.of("Add", total, make.of("Slice", positions, zero, length, zero))
        else:
            total = make.of("Add", total, make.of("Gather", positions, places, axis=0))
        if kinds is not None and segments is not None:
            total = make.of("Add", total, make.of("Gather", segments, kinds, axis=0))
        epsilon = node.float_attr("epsilon", 1e-12)
        made = make.of("LayerNormalization", total, gamma, beta, axis=-1, epsilon=epsilon)
        summed = len(node.outputs) > _EMBEDDING_SUM and node.outputs[_EMBEDDING_SUM].is_used
        others: list[Value | None] = [None] * (len(node.outputs) - 1)
        return [made, *others[:-1], total] if summed else [made, *others]


class _SpellOutSkipNorm(SpellOut):
    """What both normalizations share: they may give the sum, too."""

    bias_place: ClassVar[int]

    def normalized(self, total: Value, node: Node, make: Spelling) -> Value | NoMatch:
        """The normalization of the sum."""
        raise NotImplementedError

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Two or three terms, then the normalization."""
        x, skip, bias = node.input_at(0), node.input_at(1), node.input_at(self.bias_place)
        dtype = None if x is None else x.dtype
        if x is None or skip is None or dtype is None or dtype not in self.dtypes:
            return NoMatch("the element type is %s", dtype)
        if any(value.is_used for value in node.outputs[1:_SUM_PLACE]):
            return NoMatch("mean or deviation are used")
        make = Spelling(rw, dtype)
        total = make.of("Add", x, skip)
        if bias is not None:
            total = make.of("Add", total, bias)
        result = self.normalized(total, node, make)
        if isinstance(result, NoMatch):
            return result
        others: list[Value | None] = [None] * (len(node.outputs) - 1)
        if len(node.outputs) > _SUM_PLACE:
            others[_SUM_PLACE - 1] = total
        return [result, *others]


class SpellOutSkipLayerNorm(_SpellOutSkipNorm):
    """com.microsoft::SkipLayerNormalization(x, y, gamma, beta, bias) -> LayerNormalization(x + y + bias, gamma, beta)."""

    name: ClassVar[str] = "spell-out-skip-layer-norm"
    roots: ClassVar[tuple[str, ...]] = ("com.microsoft::SkipLayerNormalization",)
    bias_place: ClassVar[int] = 4

    def normalized(self, total: Value, node: Node, make: Spelling) -> Value | NoMatch:
        """From opset 17 on."""
        if (make.rw.graph.opset() or 0) < 17:
            return NoMatch("opset %s has no LayerNormalization", make.rw.graph.opset())
        operands = [total, node.input_at(2), node.input_at(3)]
        epsilon = node.float_attr("epsilon", 1e-12)
        return make.rw.new_node("LayerNormalization", operands, attributes={"axis": -1, "epsilon": epsilon}).outputs[0]


class SpellOutSkipRmsNorm(_SpellOutSkipNorm):
    """com.microsoft::SkipSimplifiedLayerNormalization(x, y, gamma, bias) -> RMSNormalization(x + y + bias, gamma)."""

    name: ClassVar[str] = "spell-out-skip-rms-norm"
    roots: ClassVar[tuple[str, ...]] = ("com.microsoft::SkipSimplifiedLayerNormalization",)
    bias_place: ClassVar[int] = 3

    def normalized(self, total: Value, node: Node, make: Spelling) -> Value | NoMatch:
        """From opset 23 on."""
        if (make.rw.graph.opset() or 0) < 23:
            return NoMatch("opset %s has no RMSNormalization", make.rw.graph.opset())
        epsilon = node.float_attr("epsilon", 1e-12)
        operands = [total, node.input_at(2)]
        return make.rw.new_node("RMSNormalization", operands, attributes={"axis": -1, "epsilon": epsilon}).outputs[0]


@dataclass(frozen=True)
class DecomposeTransformerOps(DecomposePass):
    """Spell out ONNX Runtime's operators for pieces of transformer blocks. Re-associates; needs types; idempotent."""

    name: ClassVar[str] = "decompose-transformer-ops"
    rules: ClassVar[tuple[Rule, ...]] = (
        SpellOutBiasGelu(),
        SpellOutEmbedLayerNorm(),
        SpellOutFusedMatMul(),
        SpellOutSkipLayerNorm(),
        SpellOutSkipRmsNorm(),
    )
