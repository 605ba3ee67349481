"""Statistics of a model's tensors, from calibration data that streams through it: what passes decide by.

Each is a :class:`graphopt.passes.Observer` that keeps float64 numbers, whose size does not depend on how much data there is, and can be
merged with another one. May import ``graphopt.ir``, ``graphopt.rewriting`` and ``graphopt.passes``.
"""

from __future__ import annotations

from graphopt.transforms.statistics.channels import ChannelExtremes, ChannelMoments
from graphopt.transforms.statistics.gram import Gram, LayerMean
from graphopt.transforms.statistics.layer_inputs import FLOATS, LayerInput, read_layer
from graphopt.transforms.statistics.several import Several, observed

__all__ = [
    "FLOATS",
    "ChannelExtremes",
    "ChannelMoments",
    "Gram",
    "LayerInput",
    "LayerMean",
    "Several",
    "observed",
    "read_layer",
]
