"""Pieces of transformers: residual sums with their normalization, Gelu with its bias, products with transpositions and factors, embeddings.

Operators of ONNX Runtime's domain are made only for targets that have a kernel for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.rewriting import Rule
from graphopt.transforms.fusion.kernel_pass import KernelPass
from graphopt.transforms.fusion.transformer.bias_gelu import FuseBiasGelu
from graphopt.transforms.fusion.transformer.embeddings import FuseEmbedLayerNorm
from graphopt.transforms.fusion.transformer.fused_matmul import FoldScaleOfProduct, FuseOperandsOfProduct
from graphopt.transforms.fusion.transformer.residual_sums import KeepLayerNorm
from graphopt.transforms.fusion.transformer.skip_norms import FuseSkipLayerNorm, FuseSkipRmsNorm

__all__ = ["FuseSkipNorms", "FuseTransformerOps", "KeepLayerNorm"]


@dataclass(frozen=True)
class FuseTransformerOps(KernelPass):
    """Make ONNX Runtime's BiasGelu, EmbedLayerNormalization and FusedMatMul, if the target has them. Re-associates; needs types."""

    name: ClassVar[str] = "fuse-transformer-ops"
    rules: ClassVar[tuple[Rule, ...]] = (
        FuseEmbedLayerNorm(),
        FuseBiasGelu(),
        FuseOperandsOfProduct(),
        FoldScaleOfProduct(),
    )


@dataclass(frozen=True)
class FuseSkipNorms(KernelPass):
    """Make ONNX Runtime's SkipLayerNormalization; slow on processors, so that no level has it. Re-associates; needs types; idempotent."""

    name: ClassVar[str] = "fuse-skip-norms"
    rules: ClassVar[tuple[Rule, ...]] = (FuseSkipLayerNorm(), FuseSkipRmsNorm())
