"""Pruning: weights become zero, or channels go for good. Lossy, so these passes run only when they are asked for by name."""

from __future__ import annotations

from graphopt.transforms.pruning.apply_plan import ApplyPruningPlan
from graphopt.transforms.pruning.batch_norm import ReestimateBatchNorm
from graphopt.transforms.pruning.channels import PruneChannels
from graphopt.transforms.pruning.magnitude import PruneMagnitude
from graphopt.transforms.pruning.masked import RecoverMasked
from graphopt.transforms.pruning.patterns import PruneNM, follows_n_m, n_m_layers
from graphopt.transforms.pruning.reconstruct import ReconstructLayers
from graphopt.transforms.pruning.separate import SeparateConstants

__all__ = [
    "ApplyPruningPlan",
    "PruneChannels",
    "PruneMagnitude",
    "PruneNM",
    "ReconstructLayers",
    "RecoverMasked",
    "ReestimateBatchNorm",
    "SeparateConstants",
    "follows_n_m",
    "n_m_layers",
]
