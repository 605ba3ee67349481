"""Normalizations that models spell out, as the operators that runtimes have for them. One file a family.

``fuse-normalization`` makes standard operators of the model's own opset. LpNormalization and MeanVarianceNormalization are never made:
where a norm is zero, or nearly, every spelling of them means something else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.rewriting import Rule
from graphopt.transforms.fusion.kernel_pass import KernelPass
from graphopt.transforms.fusion.normalization.affine import AddToNormalization, ScaleNormalization
from graphopt.transforms.fusion.normalization.casts import DropCastsAroundNormalization
from graphopt.transforms.fusion.normalization.instance_norms import FuseGroupNorm, FuseInstanceNorm
from graphopt.transforms.fusion.normalization.layer_norms import FuseLayerNorm, FuseRmsNorm
from graphopt.transforms.fusion.normalization.scaled_forms import FuseScaledLayerNorm

__all__ = ["FuseNormalization"]


@dataclass(frozen=True)
class FuseNormalization(KernelPass):
    """Make one operator of layer, RMS, instance and group normalizations that are spelled out. Re-associates; needs types."""

    name: ClassVar[str] = "fuse-normalization"
    rules: ClassVar[tuple[Rule, ...]] = (
        FuseInstanceNorm(),
        FuseLayerNorm(),
        FuseRmsNorm(),
        FuseScaledLayerNorm(),
        FuseGroupNorm(),
        ScaleNormalization(),
        AddToNormalization(),
        DropCastsAroundNormalization(),
    )
