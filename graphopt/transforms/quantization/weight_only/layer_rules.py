"""Weights of layers become integers that floats are made of; the layers stay as they are.

``MatMul(x, w) -> MatMul(x, DequantizeLinear(w8, s))``, and so for Gemm, Conv and ConvTranspose. Scales are those of output channels, or of
blocks along the axis over which products are summed. ``Mul(Cast(w8), s)`` stands in its place where that is asked for, and always for
LSTM and GRU: ONNX Runtime folds it when it loads a model, and reads no recurrent weights through DequantizeLinear but by computing them
in each run. Numerics: lossy, by the rounding of weights alone.
Source: https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Final

from graphopt.ir import DType, Node
from graphopt.numerics import Lossy, Numerics
from graphopt.rewriting import IN_PLACE, NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.quantization.products import is_split_off, read_product
from graphopt.transforms.quantization.spelled_weights import read_weight
from graphopt.transforms.quantization.weight_only.balancing import summed_axes
from graphopt.transforms.quantization.weight_only.form import StoredWeights

__all__ = ["StoreConvWeights", "StoreProductWeights", "StoreRecurrentWeights"]

_BYTE: Final = 8
_RECURRENT_RANK: Final = 3


@dataclass(frozen=True)
class StoreProductWeights(RewritePattern):
    """MatMul(x, w) -> MatMul(x, DequantizeLinear(w8)), and Gemm."""

    name: ClassVar[str] = "store-product-weights"
    roots: ClassVar[tuple[str, ...]] = ("MatMul", "Gemm")
    numerics: ClassVar[Numerics] = Lossy()
    reach: ClassVar[int] = 1
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.MatMul(any_("x"), const("w")),
        op.Gemm(any_("x"), const("w"), const("b", optional=True)),
    )
    form: StoredWeights = field(default_factory=StoredWeights)

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Any product with a constant matrix."""
        product, spelled = read_product(node), read_weight(node.input_at(1))
        if isinstance(product, NoMatch):
            return product
        if is_split_off(node):
            return NoMatch("it reads columns that were split off")
        refused = self.form.refusal(node, spelled)
        if refused is not None:
            return refused
        assert spelled is not None, "that was asked"
        channel = product.channel_axis
        weight = self.form.floats(spelled, rw, channel=channel, summed=1 - channel)
        if isinstance(weight, NoMatch):
            return weight
        rw.set_input(node, 1, weight)
        return IN_PLACE


@dataclass(frozen=True)
class StoreConvWeights(RewritePattern):
    """Conv(x, w) -> Conv(x, DequantizeLinear(w8)), and ConvTranspose."""

    name: ClassVar[str] = "store-conv-weights"
    roots: ClassVar[tuple[str, ...]] = ("Conv", "ConvTranspose")
    numerics: ClassVar[Numerics] = Lossy()
    reach: ClassVar[int] = 1
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Conv(any_("x"), const("w"), const("b", optional=True)),
        op.ConvTranspose(any_("x"), const("w")),
    )
    form: StoredWeights = field(default_factory=StoredWeights)

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Any convolution with constant weights, if they are to have 8 bits."""
        spelled = read_weight(node.input_at(1))
        refused = self.form.refusal(node, spelled)
        if refused is not None:
            return refused
        assert spelled is not None, "that was asked"
        if self.form.known(spelled) is None and self.form.dtype.bits < _BYTE:
            return NoMatch("a convolution has no blocks that share a scale, and 4 bits are too few for a channel")
        if spelled.constant.ndim < 2:
            return NoMatch("the weight is %s", spelled.constant.type)
        sums = summed_axes(node, spelled.constant.numpy())
        weight = self.form.floats(spelled, rw, channel=0 if node.op == "Conv" else 1, summed=None, sums=sums)
        if isinstance(weight, NoMatch):
            return weight
        rw.set_input(node, 1, weight)
        return IN_PLACE


@dataclass(frozen=True)
class StoreRecurrentWeights(RewritePattern):
    """LSTM(x, w, r) -> LSTM(x, Mul(Cast(w8)), Mul(Cast(r8))), and GRU."""

    name: ClassVar[str] = "store-recurrent-weights"
    roots: ClassVar[tuple[str, ...]] = ("GRU", "LSTM")
    numerics: ClassVar[Numerics] = Lossy()
    reach: ClassVar[int] = 1
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.LSTM(any_("x"), const("w"), const("r")),
        op.GRU(any_("x"), const("w"), const("r")),
    )
    form: StoredWeights = field(default_factory=StoredWeights)

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Both matrices, [directions, gates, inputs], with a scale for each gate of all directions."""
        form = replace(self.form, spelling="multiply")
        if form.dtype not in (DType.INT8, DType.INT16) or form.size_of_block or not form.symmetric:
            return NoMatch(
                "recurrent weights are stored as int8 or int16 that are multiplied by scales, and as nothing else"
            )
        spelled = [read_weight(node.input_at(at)) for at in (1, 2)]
        for item in spelled:
            refused = form.refusal(node, item)
            if refused is not None:
                return refused
            assert item is not None, "that was asked"
            if item.constant.ndim != _RECURRENT_RANK or (item.known is not None and item.known.axis not in (1, None)):
                return NoMatch("%r is no matrix for each direction, with scales for its gates", item.value.name)
        for at, item in enumerate(spelled, start=1):
            assert item is not None, "that was asked"
            weight = form.floats(item, rw, channel=1, summed=None)
            if isinstance(weight, NoMatch):
                return weight
            rw.set_input(node, at, weight)
        return IN_PLACE
