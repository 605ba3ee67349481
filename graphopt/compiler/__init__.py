"""The composition root: the only part that knows all others, and joins them.

``optimize`` lifts a model, runs a pipeline, legalizes for a target, checks the result against the original, and gives an object that
saves it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from graphopt.compiler.environment import Environment
from graphopt.compiler.lifting import lift, lower, to_graphsurgeon
from graphopt.compiler.optimizing import optimize
from graphopt.compiler.result import Optimized, OptimizeReport

if TYPE_CHECKING:
    from graphopt.compiler.running import Session, compare

__all__ = [
    "Environment",
    "OptimizeReport",
    "Optimized",
    "Session",
    "compare",
    "lift",
    "lower",
    "optimize",
    "to_graphsurgeon",
]


def __getattr__(name: str) -> object:
    if name in ("Session", "compare"):  # lazily: they import ONNX Runtime
        return getattr(importlib.import_module("graphopt.compiler.running"), name)
    raise AttributeError(f"module 'graphopt.compiler' has no attribute {name!r}")
