"""``graphopt calibrate``: tables from data, kept when it is interrupted; tables are shown and used again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import graphopt
from graphopt.cli import app
from graphopt.cli.calibration import parse_options
from graphopt.cli.options import UsageError
from graphopt.data import digits_model, digits_test
from graphopt.passes import CalibrationTable

runner = CliRunner(env={"COLUMNS": "160"})
MODEL = str(digits_model())
IMAGES = digits_test()[0][:100]

#: A reader that sends Ctrl-C to its own process, once, before its fourth batch of ten.
READER = """
import os
import signal
import numpy as np

images = np.load({path!r})
sent = []

def read():
    for number in range(10):
        if number == 3 and not sent:
            sent.append(number)
            os.kill(os.getpid(), signal.SIGINT)
        yield {{"image": images[number * 10 : number * 10 + 10]}}
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    np.savez(tmp_path / "images.npz", image=IMAGES)
    return tmp_path / "images.npz"


def run(*arguments: object, code: int = 0) -> str:
    done = runner.invoke(app, [str(item) for item in arguments])
    assert code == done.exit_code, done.output
    return done.output


def test_a_table_is_found_and_saved(data: Path, tmp_path: Path) -> None:
    text = run("calibrate", MODEL, "--data", data, "-o", tmp_path / "table.json")
    assert "logits" in text
    assert "calibrator  min-max" in text
    table = CalibrationTable.load(tmp_path / "table.json")
    assert graphopt.calibrate(MODEL, {"image": IMAGES}) == table
    assert 13 == table.batches


def test_options_of_calibrators_and_batches(data: Path) -> None:
    found = json.loads(
        run(
            *("calibrate", MODEL, "--data", data, "--json", "--calibrator", "percentile"),
            *("--option", "percentile=90", "--option", "bins=1024", "--batch", "20", "--limit", "50"),
        )
    )
    expected = graphopt.calibrate(
        MODEL, {"image": IMAGES[:50]}, batch=20, calibrator="percentile", options={"percentile": 90, "bins": 1024}
    )
    assert (3, {"percentile": 90, "bins": 1024}) == (found["batches"], found["options"])
    for tensor in found["tensors"]:
        item = expected[tensor["name"]]
        assert (item.low, item.high, expected.clipped[tensor["name"]]) == (
            tensor["low"],
            tensor["high"],
            tensor["clipped"],
        )
        assert tensor["observed"][1] >= tensor["high"]


def test_a_model_is_prepared_first(data: Path, tmp_path: Path) -> None:
    """The table says by what, and is one of the model as it was."""
    run("calibrate", MODEL, "--data", data, "--prepare", "O2", "-o", tmp_path / "table.json", "-q")
    table = CalibrationTable.load(tmp_path / "table.json")
    assert "O2" == table.prepare
    table.check_model(graphopt.lift(MODEL))
    assert len(table.ranges) < len(graphopt.calibrate(MODEL, {"image": IMAGES}).ranges)
    assert table == graphopt.calibrate(MODEL, {"image": IMAGES}, prepare="O2")


def test_two_runs_are_one_run(data: Path, tmp_path: Path) -> None:
    for limits in (("--limit", 40), ("--skip", 40, "--resume", tmp_path / "table.json")):
        run("calibrate", MODEL, "--data", data, "--calibrator", "mse", "-q", "-o", tmp_path / "table.json", *limits)
    expected = graphopt.calibrate(MODEL, {"image": IMAGES}, calibrator="mse")
    found = CalibrationTable.load(tmp_path / "table.json")
    assert expected.states.keys() == found.states.keys()
    assert 13 == found.batches
    for name, item in expected.ranges.items():
        np.testing.assert_allclose([item.low, item.high], [found[name].low, found[name].high], rtol=0.02, atol=1e-4)


def test_what_was_collected_is_kept_when_it_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends it after the batch it is at; resumed with the rest it is as one run."""
    np.save(tmp_path / "images.npy", IMAGES)
    (tmp_path / "interrupting_reader.py").write_text(READER.format(path=str(tmp_path / "images.npy")), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    how = ("calibrate", MODEL, "--data", "interrupting_reader:read", "-q", "-o", tmp_path / "table.json")
    text = run(*how, code=130)
    assert f"what was collected is in {tmp_path / 'table.json'}; go on with --resume" in " ".join(text.split())
    assert "--skip 40 --force" in " ".join(text.split())
    assert "interrupted" in text
    assert 4 == CalibrationTable.load(tmp_path / "table.json").batches
    run(*how, "--resume", tmp_path / "table.json", "--skip", 40)
    batches = [{"image": IMAGES[at : at + 10]} for at in range(0, 100, 10)]
    assert graphopt.calibrate(MODEL, batches) == CalibrationTable.load(tmp_path / "table.json")


def test_batches_are_shared_out(data: Path) -> None:
    found = json.loads(run("calibrate", MODEL, "--data", data, "--json", "--executor", "threads", "--jobs", 2))
    expected = graphopt.calibrate(MODEL, {"image": IMAGES})
    assert {name: item.high for name, item in expected.ranges.items()} == {
        tensor["name"]: tensor["high"] for tensor in found["tensors"]
    }


def test_random_data_is_only_taken_when_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    found = json.loads(run("calibrate", MODEL, "--random", 3, "--json"))
    assert 3 == found["batches"]
    assert "ranges are found with random numbers" in caplog.text
    assert "give either --data, or --random N" in run("calibrate", MODEL, code=2)


def test_a_table_is_inspected(data: Path, tmp_path: Path) -> None:
    """Edited by hand too; constant tensors are named."""
    path = tmp_path / "table.json"
    run("calibrate", MODEL, "--data", data, "-o", path, "-q")
    document = json.loads(path.read_text(encoding="utf-8"))
    document["tensors"]["image"].update(low=0, high=0)
    path.write_text(json.dumps(document), encoding="utf-8")
    text = run("inspect", path)
    assert "1 tensor had one number only: image" in text
    assert ["image"] == json.loads(run("inspect", path, "--json"))["constant"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--calibrator", "entropi"], "unknown calibrator 'entropi'; did you mean 'entropy'?"),
        (["--option", "bins"], "--option 'bins' is not understood; expected KEY=VALUE"),
        (["--option", "bins=3"], "calibrator 'min-max' has no option 'bins'; options: none"),
        (["--calibrator", "mse", "--option", "bits=40"], "calibrator 'mse': bits is 40, expected a whole number"),
        (["--target", "toaster"], "toaster"),
        (["--prepare", "nothing-known"], "nothing-known"),
        (["--skip", "1000"], "there is no batch to calibrate with; bring at least one"),
        (["--resume", "none.json"], "calibration table 'none.json' cannot be read"),
        (["--resume", "none.json", "--executor", "threads"], "--resume goes on in this process; leave out --executor"),
    ],
)
def test_what_makes_no_sense_is_one_line(data: Path, arguments: list[str], message: str) -> None:
    text = run("calibrate", MODEL, "--data", data, *arguments, code=2)
    assert message in " ".join(text.split())
    assert 1 == len([line for line in text.splitlines() if line.startswith("graphopt: ")])


def test_a_table_of_another_model_is_refused(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    run("calibrate", MODEL, "--data", data, "-o", path, "-q")
    document = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(document | {"model": "ab" * 32}), encoding="utf-8")
    text = run("calibrate", MODEL, "--data", data, "--resume", path, code=2)
    assert "the calibration table is of a model with fingerprint abababababab" in " ".join(text.split())


def test_a_file_that_is_there_is_not_replaced(data: Path, tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text("mine", encoding="utf-8")
    text = run("calibrate", MODEL, "--data", data, "-o", tmp_path / "table.json", code=2)
    assert "exists already" in text
    assert "mine" == (tmp_path / "table.json").read_text(encoding="utf-8")


def test_values_of_options() -> None:
    assert {"a": 1, "b": 0.5, "c": True, "d": "x=y"} == parse_options(["a=1", "b=0.5", "c=true", "d=x=y"])
    with pytest.raises(UsageError, match="expected KEY=VALUE"):
        parse_options(["=1"])
