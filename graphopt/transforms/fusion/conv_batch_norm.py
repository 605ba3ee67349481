"""Folds BatchNormalization in its inference form into the linear operator before it.

``BatchNormalization(op(x, w) + b) -> op(x, w * k) + (b - mean) * k + bias`` with ``k = scale / sqrt(var + epsilon)`` per channel, for op
of Conv, ConvTranspose, Gemm and MatMul (which becomes Gemm). A channel whose variance has no root gives NaN whatever it is given; its
bias becomes NaN. Touches weights. Numerics: re-associates. Source: Ioffe and Szegedy, Batch
Normalization, 2015, section 3.1; https://onnx.ai/onnx/operators/onnx__BatchNormalization.html
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from graphopt.passes import RewritePass
from graphopt.rewriting import (
    Match,
    NoMatch,
    Reassociates,
    Replacement,
    Rewriter,
    Rule,
    any_,
    const,
    one_of,
    op,
    rewrite,
)
from graphopt.transforms.fusion.batch_norm_affine import batch_norm_as_affine, has_no_root, training_reason
from graphopt.transforms.fusion.linear import add_to_bias, as_float64, read_linear, scale_channels
from graphopt.transforms.fusion.uniform_weights import FoldUniformAffine, FoldUniformBatchNorm

__all__ = ["FuseConvBatchNorm"]

_LINEAR = one_of(
    op["Conv", "ConvTranspose", "Gemm"](any_("x"), const("w"), const("b", optional=True), name="linear"),
    op.MatMul(any_("x"), const("w"), name="linear"),
)


@rewrite(
    op.BatchNormalization(_LINEAR, const("scale"), const("bias"), const("mean"), const("var"), name="norm"),
    numerics=Reassociates(),
)
def fold_batch_norm(m: Match, rw: Rewriter) -> Replacement:
    """BatchNormalization(Conv(x, w, b)) -> Conv(x, w', b'), inference only."""
    norm = m.node("norm")
    reason = training_reason(norm)
    if reason is not None:
        return reason
    linear = read_linear(m.node("linear"), scaled=True)
    if isinstance(linear, NoMatch):
        return linear
    if linear.node.op == "MatMul" and linear.rank != 2:
        return NoMatch("MatMul gives rank %s, its last axis is the channel axis in rank 2 only", linear.rank)
    scale, bias, mean, var = statistics = [as_float64(m[name]) for name in ("scale", "bias", "mean", "var")]
    if any(numbers.shape != (linear.channels,) for numbers in statistics):
        return NoMatch("statistics are not one number for each of %d channels", linear.channels)
    epsilon = norm.float_attr("epsilon", 1e-5)
    affine = batch_norm_as_affine(scale, bias, mean, var, epsilon)
    if isinstance(affine, NoMatch):
        return affine
    scaled = scale_channels(linear, affine[0])
    if isinstance(scaled, NoMatch):
        return scaled
    folded = add_to_bias(scaled, affine[1])
    if isinstance(folded, NoMatch):
        return folded
    never = has_no_root(var + epsilon)
    if never.any() and folded.new_bias is not None:
        folded = replace(folded, new_bias=np.where(never, np.nan, folded.new_bias).astype(folded.new_bias.dtype))
    return folded.rebuild(rw)


@dataclass(frozen=True)
class FuseConvBatchNorm(RewritePass):
    """Fold inference BatchNormalization into the Conv, ConvTranspose, Gemm or MatMul before it. Re-associates; idempotent.

    Weights that ConstantOfShape makes stay made, and need types.
    """

    name: ClassVar[str] = "fuse-conv-batch-norm"
    rules: ClassVar[tuple[Rule, ...]] = (fold_batch_norm, FoldUniformBatchNorm(), FoldUniformAffine())
