"""The fastest way to run a model on this machine, found by measuring: how to optimize it, and how ONNX Runtime is to run it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

from graphopt.backends.onnx.atomic import check_output, new_files
from graphopt.builtin_plugin import builtin_plugins
from graphopt.compiler.arguments import expect_type
from graphopt.compiler.environment import Environment
from graphopt.compiler.executors import check_executor, open_executor, shares_files, usable_cores
from graphopt.compiler.fleets.job import FleetJob
from graphopt.compiler.optimizing import optimize
from graphopt.compiler.tuning.choices import Candidate, default_threads
from graphopt.compiler.tuning.lab import TuningLab, absolute, find_feeds
from graphopt.compiler.tuning.search import Found, TrialRecord, TuningSearch
from graphopt.compiler.tuning.toml_file import tuned_toml
from graphopt.errors import ExecutionError, ModelError
from graphopt.passes import SessionSettings, installed_versions
from graphopt.runtime.isolation import shared_worker
from graphopt.runtime.paired import PairedTimes

__all__ = ["Tuned", "tune"]

#: Where models run that are tuned.
TARGET: Final = "onnxruntime"
_PACKAGES: Final = ("graphopt", "onnxruntime")


@dataclass(frozen=True)
class Tuned:
    """What was found.

    Attributes:
        source: the model.
        level: how to optimize it; ``"O0"`` when no level made it faster.
        disabled: passes and rules to leave out.
        settings: how ONNX Runtime is to run it.
        baseline: the settings that the original ran with.
        times: of the original and of what was found, in the trial that confirmed it; ``None`` when nothing was faster.
        trials: all that was tried, in order.
        inputs: the file with the inputs, ``None`` when they were drawn.
        seconds: how long it took, the making of models included.
        versions: of what was measured with.
    """

    source: str
    level: str
    disabled: tuple[str, ...]
    settings: SessionSettings
    baseline: SessionSettings
    times: PairedTimes | None
    trials: tuple[TrialRecord, ...]
    inputs: str | None = None
    seconds: float = 0.0
    versions: Mapping[str, str] = field(default_factory=dict)
    _model: bytes | None = field(default=None, repr=False)

    @property
    def speedup(self) -> float:
        """How much faster it is than the original; 1 when nothing was faster."""
        return 1.0 if self.times is None else self.times.ratio.speedup

    def to_toml(self, folder: str | os.PathLike[str] = ".") -> str:
        """A pipeline file that ``graphopt optimize --pipeline`` takes, and ``run`` and ``bench`` with ``--options``.

        Args:
            folder: where it will be; the path of inputs is relative to it.
        """
        inputs = None if self.inputs is None else os.path.relpath(self.inputs, folder)
        head = [
            f"graphopt tune {self.source}",
            f"{self.speedup:.2f} times as fast as the original with {self.baseline}"
            if self.times is not None
            else f"nothing was faster than the original with {self.baseline}",
            ", ".join(f"{name} {version}" for name, version in self.versions.items()),
        ]
        return tuned_toml(head, self.level, self.disabled, TARGET, self.settings, inputs)

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the pipeline file; it appears whole or not at all.

        Raises:
            OutputError: if a file is there, or it can't be written.
        """
        place = check_output(Path(path), force=force)
        with new_files([place]) as [file]:
            file.write(self.to_toml(place.parent).encode())
        return place

    def save_model(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the model that was measured and checked.

        Raises:
            OutputError: if a file is there, or it can't be written.
        """
        place = check_output(Path(path), force=force)
        if self._model is None:
            made = optimize(self.source, level=self.level, disabled=self.disabled, inputs=self.inputs)
            return made.save(place, force=force)[0]
        with new_files([place]) as [file]:
            file.write(self._model)
        return place


def tune(
    model: str | os.PathLike[str],
    *,
    seconds: float = 60.0,
    threads: Sequence[int] | None = None,
    inputs: str | os.PathLike[str] | None = None,
    seed: int = 0,
    sizes: Mapping[str, int] | None = None,
    executor: Executor | str = "processes",
    blocked: Sequence[str] = (),
    progress: Callable[[str], None] | None = None,
) -> Tuned:
    """Find the fastest way to run a model in ONNX Runtime on this machine that gives the right numbers.

    Tried are the levels, the best one without single fusions, and settings of ONNX Runtime: each against the best so far, in turns in one
    child process, and dropped as soon as it is clearly slower. What is found in the end is measured once more against the original with
    its defaults, and kept only if it is faster.

    Args:
        model: path of an ONNX file.
        seconds: time for measuring; models are made besides.
        threads: numbers of threads within an operator that may be used; the original runs with the largest. One and all cores by default.
        inputs: an ``.npz`` file to check and measure with; drawn by ``seed`` when ``None``.
        seed: of drawn inputs.
        sizes: sizes of dynamic dimensions by name, for drawn inputs.
        executor: any of ``concurrent.futures``, or the name of one (``processes``, ``threads``, ``dask://HOST:PORT``). Trials on this
            machine run one after another; the machines of a cluster run those of a stage at the same time, each beside what it is
            compared with.
        blocked: plugins that are not to be used.
        progress: told what is going on, in a few words.

    Raises:
        ModelError: if the model is broken.
        ExecutionError: if ONNX Runtime does not run it, the inputs don't fit, or there is no such executor.
    """
    start = time.perf_counter()
    tell = progress or (lambda text: None)
    path = os.fspath(model)
    counts = _counts(threads)
    if not seconds > 0:
        raise ExecutionError(f"the time to measure is {seconds:g} s, expected more than 0")
    if not os.path.isfile(path):
        what = "it is a folder, expected a model file" if os.path.isdir(path) else "no such file"
        raise ModelError(f"{path!r} cannot be read: {what}; check the path")
    if isinstance(executor, str):
        check_executor(executor)
    given = absolute(inputs)
    environment = Environment(builtin_plugins(tuple(blocked)))
    tell("finding inputs")
    arguments = (os.path.abspath(path), given, seed, dict(sizes or {}), tuple(blocked))
    feeds = cast("Mapping[str, object]", shared_worker().call(find_feeds, *arguments))
    baseline = SessionSettings(threads=max(counts))
    original = Candidate("the original", "original", settings=baseline)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="graphopt-tune-")))
        if isinstance(executor, str):
            executor = stack.enter_context(open_executor(executor, usable_cores()))  # models are made side by side
        source = os.path.abspath(path)
        job = FleetJob(source, "", TARGET, seed=seed, inputs=given, blocked=tuple(blocked))
        if given is not None and not shares_files(executor):
            job = FleetJob(source, "", TARGET, seed=seed, inputs_data=Path(given).read_bytes(), blocked=tuple(blocked))
        laboratory = TuningLab(source, executor, environment, folder, feeds, job)
        search = TuningSearch(laboratory, original, counts, seconds=seconds, progress=tell)
        found = search.run()
        content = laboratory.file_of(found.best)
    return _tuned(path, found, baseline, given, time.perf_counter() - start, content)


def _counts(threads: Sequence[int] | None) -> list[int]:
    if threads is None:
        return default_threads()
    for count in threads:
        expect_type("threads", count, int, "whole numbers")
    if not threads or min(threads) < 1:
        raise ExecutionError(f"threads are {list(threads)}, expected numbers of 1 and more")
    return sorted(set(threads))


def _tuned(
    path: str, found: Found, baseline: SessionSettings, inputs: str | None, seconds: float, content: bytes | None
) -> Tuned:
    best = found.best
    versions = installed_versions(_PACKAGES)
    versions = {name: versions[name] for name in _PACKAGES if name in versions}
    return Tuned(
        path,
        best.level,
        best.disabled,
        best.settings,
        baseline,
        found.times,
        found.trials,
        inputs,
        seconds,
        versions,
        content,
    )
