"""``graphopt compare --by-layer`` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from typer.testing import CliRunner

from graphopt.cli import app
from graphopt.data import digits_model

runner = CliRunner(env={"COLUMNS": "160"})
MODEL = str(digits_model())


@pytest.fixture
def other(tmp_path: Path) -> str:
    """The digits model with one weight of its second convolution moved."""
    proto = onnx.load(MODEL)
    weight = next(item for item in proto.graph.initializer if item.name == "conv2.weight")
    moved = numpy_helper.to_array(weight).copy()
    moved[3, 2, 1, 1] += np.float32(0.5)
    weight.CopyFrom(numpy_helper.from_array(moved, "conv2.weight"))
    onnx.save(proto, tmp_path / "other.onnx")
    return str(tmp_path / "other.onnx")


def test_the_start_is_named_and_a_page_is_written(tmp_path: Path, other: str) -> None:
    """Exit code 1: outputs are wrong. A page that is there stays, unless it may be replaced."""
    page = tmp_path / "layers.html"
    arguments = ["compare", MODEL, other, "--by-layer", "--html", str(page)]
    shown = runner.invoke(app, arguments)
    assert (1, "") == (shown.exit_code, shown.stderr)
    assert "starts at 'conv2': nodes /conv2/Conv" in shown.stdout
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    again = runner.invoke(app, arguments)
    assert (2, "") == (again.exit_code, again.stdout)
    assert 1 == runner.invoke(app, [*arguments, "--force", "--quiet"]).exit_code


def test_json_has_inputs_of_one_and_the_budget(tmp_path: Path, other: str) -> None:
    """Own inputs, a seed, and what was allowed."""
    np.savez(tmp_path / "in.npz", image=np.ones((8, 1, 8, 8), np.float32))
    arguments = ["compare", MODEL, other, "--by-layer", "--json", "--memory", "1"]
    found = json.loads(runner.invoke(app, [*arguments, "--inputs", str(tmp_path / "in.npz")]).stdout)
    assert (1 << 20, ["conv2"]) == (found["memory"], [start["name"] for start in found["starts"]])
    assert found["slice_bytes"] <= 1 << 20
    assert [8, 16, 8, 8] == next(layer["shape"] for layer in found["layers"] if layer["name"] == "conv1")
    sized = json.loads(runner.invoke(app, [*arguments, "--dim", "batch=3"]).stdout)
    assert 3 == sized["layers"][0]["shape"][0]
    assert "generated inputs with batch=3, seed 0" == sized["inputs"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--by-layer", "--samples", "4"], "--samples has nothing to say about inner values"),
        (["--by-layer", "--seconds", "1"], "--seconds has nothing to say about inner values"),
        (["--by-layer", "--threads", "2"], "--threads has nothing to say about inner values"),
        (["--by-layer", "--latency"], "--latency has nothing to say about inner values"),
        (["--by-layer", "--no-latency"], "--no-latency has nothing to say about inner values"),
        (["--by-layer", "--rtol", "inf"], "--rtol is inf, expected a finite number"),
        (["--rtol", "inf"], "--rtol is inf, expected a finite number"),
        (["--rtol", "nan"], "--rtol"),
        (["--memory", "64"], "--memory is about inner values; add --by-layer"),
        (["--html", "page.html"], "--html is about inner values; add --by-layer"),
    ],
)
def test_options_that_have_nothing_to_say_are_refused(words: list[str], said: str) -> None:
    """In one line, with exit code 2."""
    shown = runner.invoke(app, ["compare", MODEL, MODEL, *words])
    assert (2, "", 1) == (shown.exit_code, shown.stdout, shown.stderr.count("\n"))
    assert said in shown.stderr


def test_tolerance_decides(other: str) -> None:
    """Whatever is within --rtol is no start."""
    shown = runner.invoke(app, ["compare", MODEL, other, "--by-layer", "--rtol", "0.9", "--json"])
    found = json.loads(shown.stdout)
    assert (0, []) == (shown.exit_code, found["starts"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--html", "page.html"], "add --by-layer"),
        (["--by-layer", "--html", "no/such/folder/page.html"], "no/such/folder"),
        (["--by-layer", "--inputs", "none.npz"], "none.npz"),
        (["--by-layer", "--backend", "reference"], "without --backend"),
        (["--by-layer", "--memory", "0"], "--memory"),
    ],
)
def test_bad_usage_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    """Exit code 2 and nothing on stdout."""
    monkeypatch.chdir(tmp_path)
    shown = runner.invoke(app, ["compare", MODEL, MODEL, *arguments])
    assert (2, "", 1) == (shown.exit_code, shown.stdout, shown.stderr.count("\n"))
    assert said in shown.stderr
    assert [] == list(tmp_path.iterdir())


def test_a_missing_or_foreign_model_is_one_line(tmp_path: Path) -> None:
    """Of either side."""
    foreign = tmp_path / "foreign.onnx"
    onnx.save(
        onnx.parser.parse_model(
            '<ir_version: 8, opset_import: ["": 17]> g (float[2] z) => (float[2] y) { y = Neg(z) }'
        ),
        foreign,
    )
    for name, said in ((str(tmp_path / "none.onnx"), "none.onnx"), (str(foreign), "takes input 'z'")):
        shown = runner.invoke(app, ["compare", MODEL, name, "--by-layer"])
        assert (2, "", 1) == (shown.exit_code, shown.stdout, shown.stderr.count("\n"))
        assert said in shown.stderr
