"""Attention, found by structure and shapes: one operator for scores, masks, softmax and the product with values."""

from __future__ import annotations

from graphopt.transforms.fusion.attention.fuse import FuseAttention, FuseMicrosoftAttention

__all__ = ["FuseAttention", "FuseMicrosoftAttention"]
