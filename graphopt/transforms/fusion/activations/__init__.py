"""Activations: functions of one value that models spell out, as the operators that runtimes have for them. One file a family.

``fuse-activations`` makes standard operators of the model's own opset, ``fuse-microsoft-activations`` those of ONNX Runtime's domain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.rewriting import Rule
from graphopt.transforms.fusion.activations.bounds import FuseClip
from graphopt.transforms.fusion.activations.casts import DropCastsAroundActivation
from graphopt.transforms.fusion.activations.elus import FuseElu, FuseSelu
from graphopt.transforms.fusion.activations.exponentials import (
    FuseSoftplus,
    FuseSoftsign,
    FuseStableSoftplus,
    FuseThresholdedRelu,
    FuseThresholdedSoftplus,
)
from graphopt.transforms.fusion.activations.gelu import FuseGelu, FuseTanhGelu
from graphopt.transforms.fusion.activations.hard_sigmoids import FuseHardSigmoid, FuseHardSwish
from graphopt.transforms.fusion.activations.leaky import FuseLeakyRelu
from graphopt.transforms.fusion.activations.microsoft import (
    FuseMicrosoftFastGelu,
    FuseMicrosoftGelu,
    FuseMicrosoftQuickGelu,
)
from graphopt.transforms.fusion.activations.sigmoids import FuseMish, FuseShiftedSigmoid, FuseSigmoid, FuseSwish
from graphopt.transforms.fusion.kernel_pass import KernelPass

__all__ = ["FuseActivations", "FuseMicrosoftActivations"]


@dataclass(frozen=True)
class FuseActivations(KernelPass):
    """Make one operator of activations that are spelled out: Gelu, HardSwish, Mish, PRelu, Clip, Softplus and more. Re-associates."""

    name: ClassVar[str] = "fuse-activations"
    rules: ClassVar[tuple[Rule, ...]] = (
        FuseHardSwish(),
        FuseHardSigmoid(),
        FuseGelu(),
        FuseTanhGelu(),
        FuseMish(),
        FuseSwish(),
        FuseSigmoid(),
        FuseShiftedSigmoid(),
        FuseClip(),
        FuseLeakyRelu(),
        FuseStableSoftplus(),
        FuseSoftplus(),
        FuseThresholdedSoftplus(),
        FuseSoftsign(),
        FuseElu(),
        FuseSelu(),
        FuseThresholdedRelu(),
        DropCastsAroundActivation(),
    )


@dataclass(frozen=True)
class FuseMicrosoftActivations(KernelPass):
    """Make ONNX Runtime's own Gelu, FastGelu and QuickGelu of what is spelled out, where the target has them. Re-associates."""

    name: ClassVar[str] = "fuse-microsoft-activations"
    rules: ClassVar[tuple[Rule, ...]] = (FuseMicrosoftGelu(), FuseMicrosoftFastGelu(), FuseMicrosoftQuickGelu())
