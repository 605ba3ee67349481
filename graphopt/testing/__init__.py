"""A testing kit for authors of passes: strategies that draw models, oracles that hold a pass to its laws, golden files, a machine.

``pip install 'graphopt[testing]'``. Import from here, not from the modules inside; each name is imported when it is first asked for.

========================  ====================================================================================================
strategies                ``graphs models graphs_matching near_misses feeds tensors shapes tensor_types attributes nodes
                          quant_params pipelines opsets``
all laws in one call      ``check_pass``
one law                   ``assert_equivalent assert_honest assert_idempotent assert_deterministic assert_unchanged_input
                          assert_frugal assert_commutes_with``
rewrites                  ``assert_rewrites assert_no_rewrite``
golden files              ``assert_becomes assert_golden``
edits of a graph          ``GraphMachine``
========================  ====================================================================================================
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphopt.testing.generated import GeneratedModel as GeneratedModel
    from graphopt.testing.golden import assert_becomes as assert_becomes
    from graphopt.testing.golden import assert_golden as assert_golden
    from graphopt.testing.machine import GraphMachine as GraphMachine
    from graphopt.testing.oracles import INLINING as INLINING
    from graphopt.testing.oracles import NODE_ORDER as NODE_ORDER
    from graphopt.testing.oracles import OPSET_UPGRADE as OPSET_UPGRADE
    from graphopt.testing.oracles import RENAMING as RENAMING
    from graphopt.testing.oracles import TRANSFORMATIONS as TRANSFORMATIONS
    from graphopt.testing.oracles import Checked as Checked
    from graphopt.testing.oracles import LawBroken as LawBroken
    from graphopt.testing.oracles import Transformation as Transformation
    from graphopt.testing.oracles import assert_commutes_with as assert_commutes_with
    from graphopt.testing.oracles import assert_deterministic as assert_deterministic
    from graphopt.testing.oracles import assert_equivalent as assert_equivalent
    from graphopt.testing.oracles import assert_frugal as assert_frugal
    from graphopt.testing.oracles import assert_honest as assert_honest
    from graphopt.testing.oracles import assert_idempotent as assert_idempotent
    from graphopt.testing.oracles import assert_no_rewrite as assert_no_rewrite
    from graphopt.testing.oracles import assert_rewrites as assert_rewrites
    from graphopt.testing.oracles import assert_unchanged_input as assert_unchanged_input
    from graphopt.testing.oracles.checking import CheckReport as CheckReport
    from graphopt.testing.oracles.checking import check_pass as check_pass
    from graphopt.testing.strategies import attributes as attributes
    from graphopt.testing.strategies import feeds as feeds
    from graphopt.testing.strategies import graphs as graphs
    from graphopt.testing.strategies import graphs_matching as graphs_matching
    from graphopt.testing.strategies import models as models
    from graphopt.testing.strategies import near_misses as near_misses
    from graphopt.testing.strategies import nodes as nodes
    from graphopt.testing.strategies import opsets as opsets
    from graphopt.testing.strategies import pipelines as pipelines
    from graphopt.testing.strategies import quant_params as quant_params
    from graphopt.testing.strategies import shapes as shapes
    from graphopt.testing.strategies import tensor_types as tensor_types
    from graphopt.testing.strategies import tensors as tensors

_ORACLES = "graphopt.testing.oracles"
_CHECKING = "graphopt.testing.oracles.checking"
_STRATEGIES = "graphopt.testing.strategies"
#: Where each public name is.
_HOMES = {
    "INLINING": _ORACLES,
    "NODE_ORDER": _ORACLES,
    "OPSET_UPGRADE": _ORACLES,
    "RENAMING": _ORACLES,
    "TRANSFORMATIONS": _ORACLES,
    "CheckReport": _CHECKING,
    "Checked": _ORACLES,
    "GeneratedModel": "graphopt.testing.generated",
    "GraphMachine": "graphopt.testing.machine",
    "LawBroken": _ORACLES,
    "Transformation": _ORACLES,
    "assert_becomes": "graphopt.testing.golden",
    "assert_commutes_with": _ORACLES,
    "assert_deterministic": _ORACLES,
    "assert_equivalent": _ORACLES,
    "assert_frugal": _ORACLES,
    "assert_golden": "graphopt.testing.golden",
    "assert_honest": _ORACLES,
    "assert_idempotent": _ORACLES,
    "assert_no_rewrite": _ORACLES,
    "assert_rewrites": _ORACLES,
    "assert_unchanged_input": _ORACLES,
    "attributes": _STRATEGIES,
    "check_pass": _CHECKING,
    "feeds": _STRATEGIES,
    "graphs": _STRATEGIES,
    "graphs_matching": _STRATEGIES,
    "models": _STRATEGIES,
    "near_misses": _STRATEGIES,
    "nodes": _STRATEGIES,
    "opsets": _STRATEGIES,
    "pipelines": _STRATEGIES,
    "quant_params": _STRATEGIES,
    "shapes": _STRATEGIES,
    "tensor_types": _STRATEGIES,
    "tensors": _STRATEGIES,
}

__all__ = [*_HOMES]  # noqa: PLE0604 - the names of one table


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        found: object = getattr(importlib.import_module(home), name)
    except ModuleNotFoundError as err:
        if (err.name or "").partition(".")[0] not in ("hypothesis", "pytest"):
            raise
        raise ModuleNotFoundError(
            f"graphopt.testing.{name} needs {err.name}, which is not installed; run: pip install 'graphopt[testing]'",
            name=err.name,
        ) from err
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__]
