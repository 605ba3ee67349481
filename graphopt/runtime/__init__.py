"""Running models: ONNX Runtime, the reference evaluator of the ``onnx`` package, runtimes of plugins, and any of them in a child process.

Import from here, not from the modules inside; what needs a runtime is imported when it is first asked for. May import everything up to
``graphopt.backends``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from graphopt.runtime.base import Datum, Feeds, LoadedModel, Outputs, Runner, ValueSpec, check_feeds
from graphopt.runtime.isolation import Worker, run_isolated, shared_worker

if TYPE_CHECKING:
    from graphopt.runtime.executor import OrtExecutor
    from graphopt.runtime.isolated_runner import IsolatedRunner, load_isolated
    from graphopt.runtime.onnxruntime_runner import ModelSource, OrtRunner
    from graphopt.runtime.reference_runner import ReferenceRunner
    from graphopt.runtime.runtimes import ConditionalRuntime, RunOptions, Runtime

__all__ = [
    "ConditionalRuntime",
    "Datum",
    "Feeds",
    "IsolatedRunner",
    "LoadedModel",
    "ModelSource",
    "OrtExecutor",
    "OrtRunner",
    "Outputs",
    "ReferenceRunner",
    "RunOptions",
    "Runner",
    "Runtime",
    "ValueSpec",
    "Worker",
    "check_feeds",
    "load_isolated",
    "run_isolated",
    "shared_worker",
]

_HOMES = {
    "ConditionalRuntime": "runtimes",
    "IsolatedRunner": "isolated_runner",
    "ModelSource": "onnxruntime_runner",
    "OrtExecutor": "executor",
    "OrtRunner": "onnxruntime_runner",
    "ReferenceRunner": "reference_runner",
    "RunOptions": "runtimes",
    "Runtime": "runtimes",
    "load_isolated": "isolated_runner",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
