"""Rewrites for the blocked layout that runtimes run convolutions in: what stands between two goes into them, or stays in it.

Each was chosen by what ``graphopt profile`` shows: an operator that the layout does not know costs a reorder on either side.
"""

from __future__ import annotations

from graphopt.transforms.layout.affine import FuseAffineConv
from graphopt.transforms.layout.blocked import KeepBlockedLayout
from graphopt.transforms.layout.linear_chains import MergeLinear
from graphopt.transforms.layout.lrn import DecomposeLrn
from graphopt.transforms.layout.resize import ConvolveBeforeResize
from graphopt.transforms.layout.shuffles import SimplifyChannels

__all__ = [
    "ConvolveBeforeResize",
    "DecomposeLrn",
    "FuseAffineConv",
    "KeepBlockedLayout",
    "MergeLinear",
    "SimplifyChannels",
]
