"""``graphopt tune``, and what takes the file that it writes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from graphopt.cli import app
from graphopt.compiler.tuning import lab as tuning_lab
from graphopt.compiler.tuning.trial import Trial, TrialResult
from graphopt.data import digits_model
from graphopt.runtime.paired import PairedTimes

runner = CliRunner(env={"COLUMNS": "200"})
MODEL = str(digits_model())
TOML = "tuned.toml"


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fewer nodes a model has, the faster it is."""

    def measured(trial: Trial) -> TrialResult:
        first, second = (len(onnx.load(str(arm.model)).graph.node) for arm in (trial.first, trial.second))
        return TrialResult(PairedTimes((first / 1e3,) * 10, (second / 1e3,) * 10, dropped=second > first))

    monkeypatch.setattr(tuning_lab, "run_trial_apart", measured)


@pytest.mark.usefixtures("made_up")
def test_table_json_and_files(tmp_path: Path) -> None:
    """What was tried, what is kept and why; the files are there, and the other commands take them."""
    toml, fast = tmp_path / "tuned.toml", tmp_path / "fast.onnx"
    command = ["tune", MODEL, "--executor", "threads", "--threads", "1", "--seconds", "2"]
    shown = runner.invoke(app, [*command, "-o", str(toml), "--save-model", str(fast)])
    assert (0, "") == (shown.exit_code, shown.stderr)
    assert " without fuse-" in shown.stdout
    assert re.search(r"kept +level O\d.*, threads=1\n", shown.stdout)
    assert "confirmed" in shown.stdout
    found = json.loads(runner.invoke(app, [*command, "--json"]).stdout)
    assert ({"threads": 1}, True) == (found["session"], found["faster"])
    assert found["speedup"] > 2
    assert {"faster", "slower", "no faster", "the same model"} >= {trial["outcome"] for trial in found["trials"]}
    again = tmp_path / "again.onnx"
    shown = runner.invoke(app, ["optimize", MODEL, "--pipeline", str(toml), "-o", str(again), "--no-check", "-q"])
    assert 0 == shown.exit_code
    assert [node.op_type for node in onnx.load(fast).graph.node] == [
        node.op_type for node in onnx.load(again).graph.node
    ]
    command = ["bench", MODEL, str(fast), "--options", str(toml), "--repeats", "2", "--warmup", "0", "--json"]
    measured = json.loads(runner.invoke(app, command).stdout)
    assert ({"threads": 1}, 1) == (measured["session"], measured["threads"])
    out = tmp_path / "out.npz"
    shown = runner.invoke(app, ["run", str(fast), "--options", str(toml), "-o", str(out), "-q"])
    assert (0, "") == (shown.exit_code, shown.stderr)
    assert (1, 10) == np.load(out)["logits"].shape


@pytest.mark.usefixtures("made_up")
def test_the_file_can_state_what_is_left_out(tmp_path: Path) -> None:
    """``disable`` holds for every command that takes pipeline files."""
    toml = tmp_path / "tuned.toml"
    toml.write_text('level = "O2"\ndisable = ["fuse-matmul-add"]\n[session]\nthreads = 1\n')
    shown = runner.invoke(app, ["optimize", MODEL, "--pipeline", str(toml), "--no-check", "--json"])
    assert "fuse-matmul-add" not in json.loads(shown.stdout)["pipeline"]
    toml.write_text('level = "O1"\ndisable = ["eliminate-dropout"]\n')
    shown = runner.invoke(app, ["optimize", MODEL, "--pipeline", str(toml), "--no-check", "--json"])
    assert 1 == json.loads(shown.stdout)["ops_after"]["Dropout"]
    shown = runner.invoke(app, ["reduce", MODEL, "--pipeline", str(toml), "-o", str(tmp_path / "small.onnx")])
    assert 2 == shown.exit_code
    assert "disable: unknown pass 'eliminate-dropout'" in shown.stderr
    toml.write_text('level = "O1"\ndisable = ["eliminate-droput"]\n')
    shown = runner.invoke(app, ["optimize", MODEL, "--pipeline", str(toml), "--no-check"])
    assert "there is no pass or rule 'eliminate-droput' to leave out; did you mean" in shown.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("tune", MODEL, "--threads", "0"), "--threads '0' is not understood; expected numbers of 1 and more"),
        (("tune", MODEL, "--threads", "1,,2"), "--threads '1,,2' is not understood"),
        (("tune", MODEL, "--executor", "cloud"), "executor 'cloud' is not understood"),
        (("tune", "/none.onnx"), "'/none.onnx' cannot be read: no such file"),
        (("tune", "/"), "'/' cannot be read: it is a folder"),
        (("tune", MODEL, "--inputs", "/none.npz"), "inputs '/none.npz' cannot be read"),
        (("tune", MODEL, "--dim", "seq=3"), "has no dynamic size 'seq'"),
        (("tune", MODEL, "-o", "/no/such/tuned.toml"), "the folder '/no/such' does not exist"),
        (("tune", MODEL, "--save-model", MODEL), "exists already"),
        (("tune", MODEL, "--seconds", "0"), "invalid value for '--seconds'"),
        (("bench", MODEL, "--options", "/none.toml"), "'/none.toml' can't be read"),
        (("run", MODEL, "--options", MODEL), "pipeline file"),
        (("run", MODEL, "--options", "/none.toml", "--runtime", "reference"), "--options is for ONNX Runtime"),
        (("bench", MODEL, "--options", TOML, "--backend", "onnxruntime,openvino"), "--options sets ONNX Runtime"),
        (("run", MODEL, "--options", TOML, "--backend", "openvino"), "--options sets ONNX Runtime"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    (tmp_path / TOML).write_text("[session]\nthreads = 1\n")
    shown = runner.invoke(app, [str(tmp_path / TOML) if item == TOML else item for item in arguments])
    assert (2, "") == (shown.exit_code, shown.stdout)
    assert 1 == shown.stderr.count("\n")
    assert expected in shown.stderr
