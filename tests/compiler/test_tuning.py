"""Tuning a real model; what is measured is made up where a test depends on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.parser import parse_model

from graphopt.compiler.tuning import lab as tuning_lab
from graphopt.compiler.tuning.trial import Arm, Trial, TrialResult, run_trial
from graphopt.compiler.tuning.tuner import tune
from graphopt.data import digits_model
from graphopt.errors import ExecutionError, ModelError, OutputError
from graphopt.passes import SessionSettings, read_pipeline_file
from graphopt.runtime.paired import PairedTimes

HEAD = '<ir_version: 10, opset_import: ["": 17]>'
ONE = SessionSettings(threads=1)


def save(path: Path, body: str) -> str:
    onnx.save(parse_model(f"{HEAD} g {body}"), path)
    return str(path)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> list[Trial]:
    """Trials take no time: the fewer nodes a model has, the faster it is, and one thread is faster than two."""
    seen: list[Trial] = []

    def seconds(arm: Arm) -> float:
        proto = onnx.load_from_string(arm.model) if isinstance(arm.model, bytes) else onnx.load(arm.model)
        return len(proto.graph.node) * (arm.settings.threads or 0)

    def measured(trial: Trial) -> TrialResult:
        seen.append(trial)
        return TrialResult(PairedTimes((seconds(trial.first),) * 10, (seconds(trial.second),) * 10))

    monkeypatch.setattr(tuning_lab, "run_trial_apart", measured)
    return seen


def test_what_is_found_is_written_as_a_pipeline_file(made_up: list[Trial], tmp_path: Path) -> None:
    """The digits classifier has fewest nodes at some level; the file says which, and how to run it."""
    np.savez(tmp_path / "in.npz", image=np.ones((2, 1, 8, 8), np.float32))
    tuned = tune(digits_model(), seconds=5.0, threads=[2, 1], executor="threads", inputs=tmp_path / "in.npz")
    assert ONE == tuned.settings
    assert tuned.level in {"O1", "O2", "O3"}
    assert tuned.speedup > 4
    assert SessionSettings(threads=2) == tuned.baseline
    assert {"image"} == set(made_up[0].feeds)
    path = tuned.save(tmp_path / "tuned.toml")
    found = read_pipeline_file(path)
    assert (tuned.level, ONE, "in.npz") == (found.level, found.session, found.inputs.file)
    assert "times as fast as the original with threads=2" in path.read_text()
    model = tuned.save_model(tmp_path / "fast.onnx")
    assert pytest.approx(26 * 2 / tuned.speedup) == len(onnx.load(model).graph.node)
    with pytest.raises(OutputError, match="exists already"):
        tuned.save(path)


def test_the_original_is_kept_where_nothing_is_faster(made_up: list[Trial], tmp_path: Path) -> None:
    model = save(tmp_path / "m.onnx", "(float[n] x) => (float[n] y) { y = Abs(x) }")
    tuned = tune(model, seconds=1.0, threads=[1], executor="threads")
    assert ("O0", None, 1.0) == (tuned.level, tuned.times, tuned.speedup)
    assert ["no faster", *["the same model"] * 2] == [record.outcome for record in tuned.trials[:3]]
    assert "# nothing was faster" in tuned.to_toml()
    assert ["Abs"] == [node.op_type for node in onnx.load(tuned.save_model(tmp_path / "out.onnx")).graph.node]


def test_what_cannot_be_meant_is_told(tmp_path: Path) -> None:
    model = save(tmp_path / "m.onnx", "(float[n] x) => (float[n] y) { y = Abs(x) }")
    with pytest.raises(ModelError, match="no such file"):
        tune(tmp_path / "none.onnx")
    with pytest.raises(ExecutionError, match=r"expected more than 0"):
        tune(model, seconds=0)
    with pytest.raises(ExecutionError, match="expected numbers of 1 and more"):
        tune(model, threads=[0])
    with pytest.raises(ExecutionError, match="no such file"):
        tune(model, inputs=tmp_path / "none.npz")
    with pytest.raises(ExecutionError, match="executor 'moon' is not understood"):
        tune(model, executor="moon")


def trial(first: str, second: str, **more: object) -> TrialResult:
    feeds = {"x": np.array([1.0, 2.0, 3.0], np.float32)}
    arms = Arm(first, ONE), Arm(second, SessionSettings(threads=1, arena=False))
    return run_trial(Trial(*arms, Arm(first, SessionSettings(optimization="none")), feeds, 0.0, **more))  # type: ignore[arg-type]


def test_a_trial_measures_both_in_turns(tmp_path: Path) -> None:
    """Times of as many rounds for each; a model may come as bytes."""
    model = save(tmp_path / "m.onnx", "(float[n] x) => (float[n] y) { y = Abs(x) }")
    result = trial(model, model, drop=False)
    assert result.times is not None
    assert (5, 5) == (len(result.times.first), len(result.times.second))
    arm = Arm(Path(model).read_bytes(), ONE)
    sent = run_trial(Trial(arm, arm, arm, {"x": np.zeros(3, np.float32)}, 0.0, drop=False))
    assert sent.times is not None


def test_a_model_that_computes_something_else_is_not_measured(tmp_path: Path) -> None:
    first = save(tmp_path / "a.onnx", "(float[n] x) => (float[n] y) { y = Sin(x) }")
    second = save(tmp_path / "b.onnx", "(float[n] x) => (float[n] y) { y = Cos(x) }")
    result = trial(first, second)
    assert result.times is None
    assert "output 'y'" in result.wrong


def test_random_outputs_say_nothing(tmp_path: Path) -> None:
    model = save(tmp_path / "m.onnx", "(float[n] x) => (float[n] y) { r = RandomUniformLike(x)  y = Add(x, r) }")
    assert trial(model, model).times is not None
