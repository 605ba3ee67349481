"""Fusions: several operators become one, constants move into weights. One pass a family; all re-associate."""

from __future__ import annotations

from graphopt.transforms.fusion.conv_activation import FuseConvActivation
from graphopt.transforms.fusion.conv_affine import FuseConvAffine
from graphopt.transforms.fusion.conv_batch_norm import FuseConvBatchNorm
from graphopt.transforms.fusion.matmul_add import FuseMatmulAdd
from graphopt.transforms.fusion.pad import FusePad

__all__ = ["FuseConvActivation", "FuseConvAffine", "FuseConvBatchNorm", "FuseMatmulAdd", "FusePad"]
