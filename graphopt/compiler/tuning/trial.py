"""One trial: two models with their settings of ONNX Runtime, on the same inputs in turns, their outputs compared. All of it travels."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from graphopt.numerics import Reassociates
from graphopt.passes import SessionSettings
from graphopt.runtime.isolation import run_isolated
from graphopt.runtime.paired import PairedTimes, measure_pair

if TYPE_CHECKING:
    from graphopt.runtime.base import Feeds, Outputs, Runner
    from graphopt.verify import Difference

__all__ = ["Arm", "Trial", "TrialResult", "run_trial", "run_trial_apart"]

#: What ONNX Runtime's own optimizer does to numbers, with one setting or another.
_RTOL: Final = 1e-3
#: How many times as far from the original as the first may the second be.
_FACTOR: Final = 4.0


@dataclass(frozen=True)
class Arm:
    """A way to run a model.

    Attributes:
        model: path, or the model itself where it runs on another machine.
        settings: of ONNX Runtime.
    """

    model: str | bytes = field(repr=False)
    settings: SessionSettings


@dataclass(frozen=True)
class Trial:
    """What is to be measured.

    Attributes:
        first: what is compared with; its outputs are known to be right.
        second: the candidate.
        original: the model that both stand for, with ONNX Runtime's optimizer off.
        feeds: inputs by name.
        seconds: when to stop.
        drop: whether to stop as soon as the second is clearly slower.
    """

    first: Arm
    second: Arm
    original: Arm
    feeds: Mapping[str, object] = field(repr=False)
    seconds: float
    drop: bool = True


@dataclass(frozen=True)
class TrialResult:
    """What was measured.

    Attributes:
        times: of both, ``None`` when the second is wrong.
        wrong: how the outputs of the second differ, ``""`` when they are right.
    """

    times: PairedTimes | None
    wrong: str = ""


def run_trial_apart(trial: Trial) -> TrialResult:
    """A trial in a child process of its own, for executors that share theirs with other work."""
    return run_isolated(run_trial, trial)


def run_trial(trial: Trial) -> TrialResult:
    """Measure, here.

    Raises:
        ExecutionError: if ONNX Runtime does not load or run a model.
    """
    with ExitStack() as stack:
        first, second = (_open(arm, stack) for arm in (trial.first, trial.second))
        feeds = cast("Feeds", trial.feeds)
        wrong = _difference(trial, first, second, feeds)
        if wrong:
            return TrialResult(None, wrong)
        times = measure_pair(
            lambda: first.run(feeds), lambda: second.run(feeds), seconds=trial.seconds, drop=trial.drop
        )
    return TrialResult(times)


def _open(arm: Arm, stack: ExitStack) -> Runner:
    from graphopt.runtime.onnxruntime_runner import OrtRunner  # lazily: runs in the child only

    model = arm.model
    if isinstance(model, bytes):
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="graphopt-tune-"))
        path = Path(folder, "model.onnx")
        path.write_bytes(model)
        model = str(path)
    return stack.enter_context(OrtRunner(model, optimize=True, low_memory=False, settings=arm.settings))


def _difference(trial: Trial, first: Runner, second: Runner, feeds: Feeds) -> str:
    """How the outputs of the second are wrong, ``""`` when they are not.

    ONNX Runtime's optimizer rounds in another way itself, a quantized model by whole steps: outputs that are no farther from those of
    the original without it than a few times what the first's are, are right. Outputs that change from run to run say nothing.
    """
    expected, found = first.run(feeds), second.run(feeds)
    failed = [item for item in _compared(expected, found) if item.status == "failed"]
    if not failed:
        return ""
    random = {item.name for item in _compared(expected, first.run(feeds)) if item.status == "failed"}
    failed = [item for item in failed if item.name not in random]
    if not failed:
        return ""
    with ExitStack() as stack:
        exact = _open(trial.original, stack).run(feeds)
    usual = {item.name: item.max_rel for item in _compared(exact, expected)}
    far = {item.name: item for item in _compared(exact, found)}
    for item in failed:
        there = far.get(item.name)
        if there is None or there.max_rel > _RTOL + _FACTOR * usual.get(item.name, 0.0) or not there.compared:
            return str(item)
    return ""


def _compared(expected: Outputs, found: Outputs) -> list[Difference]:
    from graphopt.verify import compare  # lazily, as above

    numerics = Reassociates(_RTOL)
    return [item for name, value in expected.items() for item in compare(name, value, found[name], numerics)]
