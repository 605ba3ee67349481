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
    from graphopt.compiler.bisecting import bisect
    from graphopt.compiler.bisection import Bisection
    from graphopt.compiler.calibration.calibrating import calibrate, merge_calibrations
    from graphopt.compiler.calibration.shards import calibrate_shards
    from graphopt.compiler.differing import diff
    from graphopt.compiler.fleets.fleet import FleetModel, FleetReport, optimize_fleet
    from graphopt.compiler.layers import compare_layers
    from graphopt.compiler.profiling import profile
    from graphopt.compiler.pruning.plans import PlanRecorder, record_plan
    from graphopt.compiler.pruning.pruner import prune
    from graphopt.compiler.pruning.result import Pruned, PruneReport
    from graphopt.compiler.quantizing.evaluating import Evaluation, evaluate
    from graphopt.compiler.quantizing.quantizer import quantize
    from graphopt.compiler.quantizing.result import Quantized, QuantizeReport
    from graphopt.compiler.reducing import reduce
    from graphopt.compiler.replaying import Replayed, replay
    from graphopt.compiler.running import Session, compare
    from graphopt.compiler.tuning.tuner import Tuned, tune

__all__ = [
    "Bisection",
    "Environment",
    "Evaluation",
    "FleetModel",
    "FleetReport",
    "OptimizeReport",
    "Optimized",
    "PlanRecorder",
    "PruneReport",
    "Pruned",
    "QuantizeReport",
    "Quantized",
    "Replayed",
    "Session",
    "Tuned",
    "bisect",
    "calibrate",
    "calibrate_shards",
    "compare",
    "compare_layers",
    "diff",
    "evaluate",
    "lift",
    "lower",
    "merge_calibrations",
    "optimize",
    "optimize_fleet",
    "profile",
    "prune",
    "quantize",
    "record_plan",
    "reduce",
    "replay",
    "to_graphsurgeon",
    "tune",
]


#: Where names are that import much (ONNX Runtime, say), and so are imported when somebody asks for them.
_HOMES = {
    "Bisection": "bisection",
    "Evaluation": "quantizing.evaluating",
    "FleetModel": "fleets.fleet",
    "FleetReport": "fleets.fleet",
    "PlanRecorder": "pruning.plans",
    "PruneReport": "pruning.result",
    "Pruned": "pruning.result",
    "QuantizeReport": "quantizing.result",
    "Quantized": "quantizing.result",
    "Replayed": "replaying",
    "Session": "running",
    "Tuned": "tuning.tuner",
    "bisect": "bisecting",
    "calibrate": "calibration.calibrating",
    "calibrate_shards": "calibration.shards",
    "compare": "running",
    "compare_layers": "layers",
    "diff": "differing",
    "evaluate": "quantizing.evaluating",
    "merge_calibrations": "calibration.calibrating",
    "optimize_fleet": "fleets.fleet",
    "profile": "profiling",
    "prune": "pruning.pruner",
    "quantize": "quantizing.quantizer",
    "record_plan": "pruning.plans",
    "reduce": "reducing",
    "replay": "replaying",
    "tune": "tuning.tuner",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'graphopt.compiler' has no attribute {name!r}")
    return getattr(importlib.import_module(f"graphopt.compiler.{home}"), name)
