"""The pass that makes operators of attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.rewriting import Rule
from graphopt.transforms.fusion.attention.multi_head import UseMultiHeadAttention
from graphopt.transforms.fusion.kernel_pass import KernelPass

__all__ = ["FuseAttention"]


@dataclass(frozen=True)
class FuseAttention(KernelPass):
    """Make one operator of attention, for targets that have it. Re-associates; needs types; idempotent."""

    name: ClassVar[str] = "fuse-attention"
    rules: ClassVar[tuple[Rule, ...]] = (UseMultiHeadAttention(),)
