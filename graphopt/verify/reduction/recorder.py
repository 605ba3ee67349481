"""What values of a model are when it runs, so that what computes them can be cut away.

The model runs in a child process: a broken one may crash its runtime. Numbers are kept as long as edits leave them as they are.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from graphopt.backends.onnx.files import save
from graphopt.errors import ExecutionError, GraphoptError
from graphopt.ir import TensorType, Value
from graphopt.runtime.base import Datum, Feeds, Outputs, Runner
from graphopt.runtime.isolation import shared_worker
from graphopt.verify.reduction.case import Case
from graphopt.verify.reduction.editing import sweep

__all__ = ["Recorder", "run_samples"]

logger = logging.getLogger(__name__)

_AT_ONCE_BYTES: Final = 64 << 20
_UNKNOWN_SIZE: Final = 64


class Recorder:
    """Runs models and keeps what their values were.

    Args:
        folder: for temporary files.
        timeout: seconds that a run may take.
    """

    def __init__(self, folder: str | os.PathLike[str], *, timeout: float | None = None) -> None:
        self._path = Path(folder) / "record.onnx"
        self._timeout = timeout
        self._known: list[dict[str, Datum]] = []
        self._runtime = ""

    def forget(self) -> None:
        """What values are is not known any more: the model computes something else now, or on other inputs."""
        self._known = []

    def runs(self, case: Case) -> bool:
        """Whether a model runs on all its samples."""
        return not case.samples or self._run(case) is not None

    def values(self, case: Case, names: Iterable[str]) -> list[dict[str, Datum]] | None:
        """Values of the main graph by name, for each sample; ``None`` when the model does not run.

        Args:
            case: the model that computes them.
            names: of results of its nodes.
        """
        if not case.samples:
            return []
        wanted = list(names)
        if not self._known:
            self._known = [{} for _ in case.samples]
        missing = [name for name in wanted if name not in self._known[0]]
        if missing and not self._record(case, missing):
            return None
        return [{name: known[name] for name in wanted} for known in self._known]

    def _record(self, case: Case, names: list[str]) -> bool:
        """Run with these values given out, and all others when they are small."""
        all_values = {value.name: value for node in case.model.graph.nodes for value in node.outputs if value.name}
        unknown = [value for name, value in all_values.items() if name not in self._known[0] and value.is_used]
        if sum(map(_bytes, unknown)) <= _AT_ONCE_BYTES:
            names = list(dict.fromkeys([*names, *(value.name for value in unknown)]))
        probe = case.copy()
        graph = probe.model.graph
        while graph.outputs:
            graph.remove_output(len(graph.outputs) - 1)
        wanted = set(names)
        for node in graph.nodes:
            for value in node.outputs:
                if value.name in wanted:
                    graph.add_output(value)
        sweep(graph)
        found = self._run(probe)
        if found is None:
            return False
        for known, outputs in zip(self._known, found, strict=True):
            known.update(outputs)
        return all(name in self._known[0] for name in names)

    def _run(self, case: Case) -> list[Outputs] | None:
        try:
            save(case.model, self._path, force=True)
            arguments = (str(self._path), case.samples, self._runtime)
            found, self._runtime = shared_worker().call(run_samples, *arguments, timeout=self._timeout)
            return found
        except GraphoptError as err:
            logger.debug("a candidate does not run: %s", err)
            return None


def _bytes(value: Value) -> int:
    """About how large a value is."""
    if not isinstance(value.type, TensorType) or value.type.shape is None:
        return _UNKNOWN_SIZE**2
    count = 1
    for dim in value.type.shape:
        count *= dim if isinstance(dim, int) else _UNKNOWN_SIZE
    return count * max(1, value.type.dtype.bits // 8)


def run_samples(path: str, samples: tuple[Feeds, ...], runtime: str) -> tuple[list[Outputs], str]:
    """Outputs of a model file for each set of inputs, and what ran it; runs in a child process.

    Args:
        path: the model.
        samples: sets of inputs.
        runtime: what runs it; ``""`` for ONNX Runtime, or else the reference evaluator. What one ran the other may refuse, or take
            for something else.

    Raises:
        ExecutionError: if it does not run.
    """
    from graphopt.runtime.onnxruntime_runner import (
        OrtRunner,
    )  # lazily: imports ONNX Runtime, which the parent does without
    from graphopt.runtime.reference_runner import ReferenceRunner

    openers: dict[str, Callable[[], Runner]] = {
        "onnxruntime": lambda: OrtRunner(path, threads=1),
        "reference": lambda: ReferenceRunner(path),
    }
    first: ExecutionError | None = None
    for name in [runtime] if runtime else openers:
        try:
            with openers[name]() as runner:
                return [runner.run(feeds) for feeds in samples], name
        except ExecutionError as err:
            first = first or err
    assert first is not None, "there are runtimes"
    raise first
