"""Coefficients of the cost model fitted on this machine: small models of all operators and given ones run under the profiler."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from graphopt.analysis.cost_fit import Measured, fit_classes, held_out_quality
from graphopt.analysis.cost_model import CostModel, read_cost_model, shipped_cost_model
from graphopt.cache_folder import cache_folder
from graphopt.compiler.cost_probes import probes
from graphopt.data import digits_model
from graphopt.errors import ExecutionError
from graphopt.passes import installed_versions
from graphopt.runtime.base import Feeds
from graphopt.runtime.isolation import Worker
from graphopt.runtime.node_times import NodeTime, time_nodes

__all__ = ["Timer", "cost_file", "fit_cost_model", "known_cost_model"]

BACKEND: Final = "onnxruntime"
#: What times the nodes of a model: model, inputs, threads, seconds.
Timer = Callable[[str | bytes, Feeds, int, float], list[NodeTime]]
_PROBE_SECONDS: Final = 0.05


def cost_file() -> Path:
    """Where coefficients of this machine are kept: in the user's cache folder."""
    return cache_folder() / f"cost-{BACKEND}.json"


def known_cost_model(path: Path | None = None) -> tuple[CostModel, str]:
    """The coefficients in a file, else those of this machine, else those that ship with graphopt; and where they are from.

    Raises:
        ModelError: if a file holds something else.
    """
    if path is not None:
        return read_cost_model(path), str(path)
    own = cost_file()
    if own.is_file():
        return read_cost_model(own), str(own)
    return shipped_cost_model(), "shipped with graphopt"


def fit_cost_model(
    models: Mapping[str, Callable[[], Feeds]],
    *,
    threads: int = 1,
    seconds: float = 1.0,
    progress: Callable[[str], None] = lambda text: None,
    timer: Timer | None = None,
) -> CostModel:
    """Fit, and measure how far off estimates are on each model when it is held out.

    Args:
        models: paths of models, with what gives their inputs; the classifier that ships with graphopt when there are none.
        threads: within an operator.
        seconds: for each model.
        progress: told what is going on.
        timer: times the nodes of a model; by default the profiler of ONNX Runtime, in a child process.

    Raises:
        ExecutionError: if ONNX Runtime does not run a model, or nothing could be measured.
    """
    if not models:
        models = {str(digits_model()): _digits_feeds}
    names = _names(list(models))
    nodes: list[Measured] = []
    with ExitStack() as stack:
        measure = timer or _in_child(stack.enter_context(Worker()))
        for path, feeds in models.items():
            progress(path)
            own = _entered(names[path], measure(os.path.abspath(path), feeds(), threads, seconds))
            if not own:
                raise ExecutionError(f"no node of {path!r} could be measured; leave it out")
            nodes += own
        for probe in probes():
            progress(probe.name)
            nodes += _entered("", measure(probe.model, probe.feeds, threads, _PROBE_SECONDS))
    quality = held_out_quality(nodes, list(names.values()))
    return CostModel(BACKEND, threads, fit_classes(nodes), _machine(), quality)


def _in_child(worker: Worker) -> Timer:
    def measure(model: str | bytes, feeds: Feeds, threads: int, seconds: float) -> list[NodeTime]:
        return worker.call(time_nodes, model, dict(feeds), threads, seconds)

    return measure


def _names(paths: Sequence[str]) -> dict[str, str]:
    """Names of files, or whole paths where these are not all different."""
    short = {path: Path(path).name for path in paths}
    return short if len(set(short.values())) == len(short) else {path: path for path in paths}


def _entered(model: str, times: Sequence[NodeTime]) -> list[Measured]:
    return [Measured(model, item.name, item.flops, item.moved, item.seconds) for item in times]


def _digits_feeds() -> Feeds:
    from graphopt.data import digits_test

    return {"image": digits_test()[0][:8]}


def _machine() -> str:
    versions = installed_versions((BACKEND,))
    return f"{_processor()}, {platform.system()}, {BACKEND} {versions.get(BACKEND, '?')}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not on every system
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
