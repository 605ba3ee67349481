"""Inverses of fusions: operators spelled out by simpler ones, for targets that lack them. One pass a family."""

from __future__ import annotations

from graphopt.transforms.decompose.activations import DecomposeActivations
from graphopt.transforms.decompose.attention import DecomposeAttention
from graphopt.transforms.decompose.blocks import DecomposeBlocks
from graphopt.transforms.decompose.integers import DecomposeIntegers
from graphopt.transforms.decompose.normalization import DecomposeNormalization
from graphopt.transforms.decompose.recurrent import DecomposeRecurrent
from graphopt.transforms.decompose.transformer import DecomposeTransformerOps

__all__ = [
    "DecomposeActivations",
    "DecomposeAttention",
    "DecomposeBlocks",
    "DecomposeIntegers",
    "DecomposeNormalization",
    "DecomposeRecurrent",
    "DecomposeTransformerOps",
]
