"""Makes and measures what ``tune`` tries, wherever an executor does the work."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from graphopt.compiler.environment import Environment
from graphopt.compiler.executors import ChildExecutor, shares_files
from graphopt.compiler.feeding import feeds_of_model
from graphopt.compiler.fleets.job import FleetJob, JobResult, run_job
from graphopt.compiler.fleets.manifest import bytes_to_send
from graphopt.compiler.tuning.choices import ORIGINAL, Candidate, fusions
from graphopt.compiler.tuning.search import Outcome
from graphopt.compiler.tuning.trial import Arm, Trial, TrialResult, run_trial, run_trial_apart
from graphopt.errors import ExecutionError, VerificationError
from graphopt.passes import SessionSettings

__all__ = ["TuningLab", "absolute", "find_feeds"]

_Model = tuple[str, tuple[str, ...]]
_RAW: Final = SessionSettings(optimization="none", threads=1)


@dataclass(frozen=True)
class _Made:
    """A model that was made.

    Attributes:
        model: path, or the model itself where work is done on other machines.
        digest: of the file.
        passes: what passes did, by rule.
        alone: whether it is all in one file, and was made here.
    """

    model: str | bytes
    digest: str
    passes: Mapping[str, Mapping[str, int]]
    alone: bool = False


def find_feeds(model: str, inputs: str | None, seed: int, sizes: dict[str, int], blocked: tuple[str, ...]) -> object:
    """Inputs of a model by name, with arguments that travel to a child process; see :func:`feeds_of_model`."""
    from graphopt.builtin_plugin import builtin_plugins

    environment = Environment(builtin_plugins(blocked))
    path = None if inputs is None else Path(inputs)
    return dict(feeds_of_model(Path(model), environment=environment, inputs=path, seed=seed, sizes=sizes))


class TuningLab:
    """Makes and measures.

    Args:
        original: path of the model.
        executor: does the work.
        environment: plugins.
        folder: for models that are made.
        feeds: inputs that models are measured with.
        job: how models are made: target, seed, inputs of the check, plugins.
    """

    def __init__(
        self,
        original: str,
        executor: Executor,
        environment: Environment,
        folder: Path,
        feeds: Mapping[str, object],
        job: FleetJob,
    ) -> None:
        self._executor = executor
        self._environment = environment
        self._folder = folder
        self._feeds = feeds
        self._job = job
        self._here = shares_files(executor)
        model = original if self._here else bytes_to_send(Path(original), environment)
        self._made: dict[_Model, _Made] = {(ORIGINAL, ()): _Made(model, "", {})}
        self._refused: dict[_Model, tuple[Outcome, str]] = {}
        self._numbers = itertools.count()

    @property
    def is_shared(self) -> bool:
        """Trials on one machine disturb each other."""
        return self._here

    def rewrites(self, candidate: Candidate) -> Mapping[str, int]:
        """What can be left out of the model of a candidate, with how often it was applied."""
        return fusions(self._made[candidate.model].passes, self._rules)

    @functools.cached_property
    def _rules(self) -> frozenset[str]:
        return frozenset(str(row["name"]) for row in self._environment.plugins.describe("rules"))

    def file_of(self, candidate: Candidate) -> bytes | None:
        """The model that was made for a candidate; ``None`` for the original, and one with weights in files beside it."""
        made = self._made[candidate.model]
        if not made.alone:
            return None
        return made.model if isinstance(made.model, bytes) else Path(made.model).read_bytes()

    def prepare(self, candidates: Sequence[Candidate]) -> Mapping[Candidate, tuple[Outcome, str]]:
        """Make models that are not there; see :class:`graphopt.compiler.tuning.search.Laboratory`."""
        models = [item for item in dict.fromkeys(candidate.model for candidate in candidates) if self._is_new(item)]
        futures = [(model, self._executor.submit(run_job, self._job_of(model))) for model in models]
        names = {candidate.model: candidate.name for candidate in reversed(candidates)}
        for model, future in futures:
            self._enter(model, future, names)
        return {item: self._refused[item.model] for item in candidates if item.model in self._refused}

    def _is_new(self, model: _Model) -> bool:
        return model not in self._made and model not in self._refused

    def _job_of(self, model: _Model) -> FleetJob:
        level, disabled = model
        passes = self._environment.plugins.passes
        chosen = self._environment.pipeline(
            None, level, disabled=[item for item in disabled if item in passes]
        ).to_text()
        rules = tuple(item for item in disabled if item not in passes)
        name = f"{next(self._numbers)}.onnx"
        source = self._made[ORIGINAL, ()].model
        if isinstance(source, bytes):
            return replace(self._job, pipeline=chosen, disabled=rules, data=source, name=name)
        return replace(self._job, pipeline=chosen, disabled=rules, output=str(self._folder / name))

    def _enter(self, model: _Model, future: Future[JobResult], names: Mapping[_Model, str]) -> None:
        try:
            result = future.result()
        except VerificationError as err:
            self._refused[model] = ("wrong", str(err))
            return
        except Exception as err:  # noqa: BLE001 - a pass, a plugin or a machine failed: the others go on
            self._refused[model] = ("failed", f"{type(err).__name__}: {err}")
            return
        [(name, digest), *_] = result.files.items()
        same = next((known for known, made in self._made.items() if made.digest == digest), None)
        if same is not None:
            self._refused[model] = ("the same model", f"as {names.get(same, same[0])}")
            return
        place = str(self._folder / name)
        self._made[model] = _Made(
            place if self._here else result.sent[name], digest, result.passes, len(result.files) == 1
        )

    def measure(
        self, pairs: Sequence[tuple[Candidate, Candidate]], seconds: float, *, drop: bool
    ) -> list[TrialResult | Exception]:
        """Measure the second of each pair against the first, in child processes."""
        measured: Callable[[Trial], TrialResult] = (
            run_trial if isinstance(self._executor, ChildExecutor) else run_trial_apart
        )
        original = Arm(self._made[ORIGINAL, ()].model, _RAW)
        trials = [
            Trial(self._arm(first), self._arm(second), original, self._feeds, seconds, drop) for first, second in pairs
        ]
        futures = [self._executor.submit(measured, trial) for trial in trials]
        found: list[TrialResult | Exception] = []
        for future in futures:
            try:
                found.append(future.result())
            except Exception as err:  # noqa: BLE001 - a setting that fails, or crashes, is one that is not used
                found.append(err)
        return found

    def _arm(self, candidate: Candidate) -> Arm:
        return Arm(self._made[candidate.model].model, candidate.settings)


def absolute(path: str | os.PathLike[str] | None) -> str | None:
    """A path that holds in another process."""
    if path is None:
        return None
    if not os.path.isfile(path):
        raise ExecutionError(f"inputs {os.fspath(path)!r} cannot be read: no such file; check the path")
    return os.path.abspath(path)
