"""The composition root: the only part that knows all others, and joins them.

``optimize`` lifts a model, runs a pipeline, legalizes for a target, checks the result against the original, and gives an object that
saves it.
"""

from __future__ import annotations

from graphopt.compiler.environment import Environment
from graphopt.compiler.lifting import lift, lower, to_graphsurgeon
from graphopt.compiler.optimizing import optimize
from graphopt.compiler.result import Optimized, OptimizeReport

__all__ = ["Environment", "OptimizeReport", "Optimized", "lift", "lower", "optimize", "to_graphsurgeon"]
