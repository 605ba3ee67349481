"""Operators of ONNX Runtime's domain that stand for pieces of transformer blocks.

Residual sums with their normalization, Gelu with its bias, products with their transpositions and factors; each is made only for targets
that have a kernel for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.rewriting import Rule
from graphopt.transforms.fusion.kernel_pass import KernelPass
from graphopt.transforms.fusion.transformer.bias_gelu import FuseBiasGelu
from graphopt.transforms.fusion.transformer.fused_matmul import FoldScaleOfProduct, FuseOperandsOfProduct
from graphopt.transforms.fusion.transformer.skip_norms import FuseSkipLayerNorm, FuseSkipRmsNorm

__all__ = ["FuseTransformerOps"]


@dataclass(frozen=True)
class FuseTransformerOps(KernelPass):
    """Make ONNX Runtime's own operators of pieces of transformer blocks, where the target has them. Re-associates; needs types."""

    name: ClassVar[str] = "fuse-transformer-ops"
    rules: ClassVar[tuple[Rule, ...]] = (
        FuseSkipLayerNorm(),
        FuseSkipRmsNorm(),
        FuseBiasGelu(),
        FuseOperandsOfProduct(),
        FoldScaleOfProduct(),
    )
