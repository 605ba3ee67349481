"""Symbolic shape inference on the IR: functions by operator, and the walk that applies them.

A shape function gives the types of a node's outputs from those of its inputs and from the numbers in small integer tensors
(:class:`~graphopt.analysis.ShapeValues`). Sizes are numbers or expressions over the model's dynamic sizes. Sound: where runtimes and
specification differ, or where anything is in doubt, a size is unknown and gets a symbol of its own.
"""

from __future__ import annotations

from graphopt.analysis.shape_inference.broadcasting import broadcast_shapes
from graphopt.analysis.shape_inference.dim_roles import from_roles
from graphopt.analysis.shape_inference.facts import Facts, ShapeFunction
from graphopt.analysis.shape_inference.inference import SymbolicTypes
from graphopt.analysis.shape_inference.registry import SHAPE_FUNCTIONS
from graphopt.analysis.shape_inference.reshaping import reshaped
from graphopt.analysis.shape_inference.walk import NodeRules

__all__ = [
    "SHAPE_FUNCTIONS",
    "Facts",
    "NodeRules",
    "ShapeFunction",
    "SymbolicTypes",
    "broadcast_shapes",
    "from_roles",
    "reshaped",
]
