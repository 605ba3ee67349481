"""graphopt: an optimizing compiler for ONNX models that anyone can extend.

Example:
    >>> import graphopt
    >>> from graphopt.data import digits_model
    >>> result = graphopt.optimize(digits_model(), level="O2", check=False)
    >>> result.report.nodes_after < result.report.nodes_before
    True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphopt.compiler import Bisection as Bisection
    from graphopt.compiler import Evaluation as Evaluation
    from graphopt.compiler import Optimized as Optimized
    from graphopt.compiler import OptimizeReport as OptimizeReport
    from graphopt.compiler import Pruned as Pruned
    from graphopt.compiler import PruneReport as PruneReport
    from graphopt.compiler import Quantized as Quantized
    from graphopt.compiler import QuantizeReport as QuantizeReport
    from graphopt.compiler import Replayed as Replayed
    from graphopt.compiler import Session as Session
    from graphopt.compiler import Tuned as Tuned
    from graphopt.compiler import bisect as bisect
    from graphopt.compiler import calibrate as calibrate
    from graphopt.compiler import compare as compare
    from graphopt.compiler import compare_layers as compare_layers
    from graphopt.compiler import diff as diff
    from graphopt.compiler import evaluate as evaluate
    from graphopt.compiler import lift as lift
    from graphopt.compiler import lower as lower
    from graphopt.compiler import merge_calibrations as merge_calibrations
    from graphopt.compiler import optimize as optimize
    from graphopt.compiler import optimize_fleet as optimize_fleet
    from graphopt.compiler import profile as profile
    from graphopt.compiler import prune as prune
    from graphopt.compiler import quantize as quantize
    from graphopt.compiler import reduce as reduce
    from graphopt.compiler import replay as replay
    from graphopt.compiler import to_graphsurgeon as to_graphsurgeon
    from graphopt.compiler import tune as tune
    from graphopt.errors import GraphoptError as GraphoptError
    from graphopt.hookspecs import hookimpl as hookimpl
    from graphopt.ir import GraphBuilder as GraphBuilder
    from graphopt.passes import CalibrationTable as CalibrationTable
    from graphopt.passes import PassManager as PassManager
    from graphopt.passes import Pipeline as Pipeline
    from graphopt.passes import RewritePass as RewritePass
    from graphopt.rewriting import NoMatch as NoMatch
    from graphopt.rewriting import any_ as any_
    from graphopt.rewriting import const as const
    from graphopt.rewriting import op as op
    from graphopt.rewriting import rewrite as rewrite

#: What each public name is imported from, when somebody first asks for it: ``import graphopt`` itself imports nothing.
_PUBLIC = {
    "Bisection": "graphopt.compiler",
    "CalibrationTable": "graphopt.passes",
    "Evaluation": "graphopt.compiler",
    "GraphBuilder": "graphopt.ir",
    "GraphoptError": "graphopt.errors",
    "NoMatch": "graphopt.rewriting",
    "OptimizeReport": "graphopt.compiler",
    "Optimized": "graphopt.compiler",
    "PassManager": "graphopt.passes",
    "Pipeline": "graphopt.passes",
    "PruneReport": "graphopt.compiler",
    "Pruned": "graphopt.compiler",
    "Replayed": "graphopt.compiler",
    "QuantizeReport": "graphopt.compiler",
    "Quantized": "graphopt.compiler",
    "RewritePass": "graphopt.passes",
    "Session": "graphopt.compiler",
    "Tuned": "graphopt.compiler",
    "any_": "graphopt.rewriting",
    "bisect": "graphopt.compiler",
    "calibrate": "graphopt.compiler",
    "compare": "graphopt.compiler",
    "compare_layers": "graphopt.compiler",
    "const": "graphopt.rewriting",
    "diff": "graphopt.compiler",
    "evaluate": "graphopt.compiler",
    "hookimpl": "graphopt.hookspecs",
    "lift": "graphopt.compiler",
    "lower": "graphopt.compiler",
    "merge_calibrations": "graphopt.compiler",
    "op": "graphopt.rewriting",
    "optimize": "graphopt.compiler",
    "optimize_fleet": "graphopt.compiler",
    "profile": "graphopt.compiler",
    "prune": "graphopt.compiler",
    "quantize": "graphopt.compiler",
    "reduce": "graphopt.compiler",
    "replay": "graphopt.compiler",
    "rewrite": "graphopt.rewriting",
    "to_graphsurgeon": "graphopt.compiler",
    "tune": "graphopt.compiler",
}

__all__ = [*sorted(_PUBLIC), "__version__"]  # noqa: PLE0604 - the names of one table


def __getattr__(name: str) -> object:
    module = _PUBLIC.get(name)
    if module is not None:
        return getattr(importlib.import_module(module), name)
    if name == "__version__":
        from importlib.metadata import version  # lazily: reading metadata takes longer than all else here

        return version("graphopt")
    raise AttributeError(f"module 'graphopt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
