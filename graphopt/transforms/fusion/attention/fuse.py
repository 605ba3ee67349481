"""The passes that make operators of attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.rewriting import Rule
from graphopt.transforms.fusion.attention.cached import GiveAttentionCache, GiveMultiHeadAttentionCache
from graphopt.transforms.fusion.attention.grouped import UseGroupQueryAttention
from graphopt.transforms.fusion.attention.guards import DropMaskOfNothing, DropSoftmaxGuard
from graphopt.transforms.fusion.attention.heads import JoinAttentionHeads, ShareAttentionHeads
from graphopt.transforms.fusion.attention.multi_head import UseMultiHeadAttention
from graphopt.transforms.fusion.attention.packed import SplitPackedFactors, SplitPackedHeads
from graphopt.transforms.fusion.attention.repeats import GatherRepeatedHeads
from graphopt.transforms.fusion.attention.rotary import UseRotaryEmbedding
from graphopt.transforms.fusion.attention.rotary_heads import RotateJoinedHeads
from graphopt.transforms.fusion.attention.standard import UseAttention
from graphopt.transforms.fusion.kernel_pass import KernelPass

__all__ = ["FuseAttention", "FuseMicrosoftAttention"]


@dataclass(frozen=True)
class FuseAttention(KernelPass):
    """Make the standard operator of attention, on what it is given as it was before; drop what does nothing. Re-associates; idempotent."""

    name: ClassVar[str] = "fuse-attention"
    rules: ClassVar[tuple[Rule, ...]] = (
        UseAttention(),
        DropMaskOfNothing(),
        DropSoftmaxGuard(),
        ShareAttentionHeads(),
        GiveAttentionCache(),
        GatherRepeatedHeads(),
        RotateJoinedHeads(),
        JoinAttentionHeads(),
    )


@dataclass(frozen=True)
class FuseMicrosoftAttention(KernelPass):
    """Make ONNX Runtime's own operators of attention, for targets that have them. Re-associates; needs types; idempotent."""

    name: ClassVar[str] = "fuse-microsoft-attention"
    rules: ClassVar[tuple[Rule, ...]] = (
        SplitPackedFactors(),
        SplitPackedHeads(),
        UseRotaryEmbedding(),
        RotateJoinedHeads(),
        UseMultiHeadAttention(),
        GiveMultiHeadAttentionCache(),
        UseGroupQueryAttention(),
        JoinAttentionHeads(),
    )
