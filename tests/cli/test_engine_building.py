"""``graphopt build``."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from graphopt.cli import app
from graphopt.data import digits_model
from tests.backends.tensorrt.library import API, needs_library

runner = CliRunner(env={"COLUMNS": "200"})
MODEL = str(digits_model())


@needs_library
def test_an_engine_is_built_with_a_manifest_beside_it(tmp_path):
    made = tmp_path / "digits.engine"
    done = runner.invoke(app, ["build", MODEL, "-o", str(made), "--json", "--no-check", "--dim", "batch=1,4,8"])
    assert 0 == done.exit_code, done.stderr
    told = json.loads(done.stdout)
    manifest = json.loads((tmp_path / "digits.engine.json").read_text())
    assert made.stat().st_size == told["bytes"] == manifest["bytes"]
    assert (API.name, "fp32") == (manifest["library"], manifest["precision"])
    assert [str(made), f"{made}.json"] == told["files"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--sm", "eight"], "--sm 'eight' is not understood; expected compute capabilities"),
        (["--dim", "batch"], "dimension 'batch' is not understood; expected NAME=MIN,USUAL,MAX"),
        (["--precision", "fp64"], "precision is 'fp64', expected one of fp32, fp16, bf16"),
        (["--target", "onnx"], "target is 'onnx', engines are built for: tensorrt, tensorrt-rtx"),
    ],
)
def test_bad_options(tmp_path, options, reason):
    done = runner.invoke(app, ["build", MODEL, "-o", str(tmp_path / "x.engine"), *options])
    assert 2 == done.exit_code
    assert reason in done.stderr
    assert [] == list(tmp_path.iterdir())


@needs_library
def test_a_profile_of_an_input_that_is_not_there(tmp_path):
    done = runner.invoke(
        app, ["build", MODEL, "-o", str(tmp_path / "x.engine"), "--no-check", "--profile", "nothing:1x64"]
    )
    assert 2 == done.exit_code
    assert "the model has no input 'nothing'; it takes: image" in done.stderr


def test_without_a_library_the_line_that_installs_one(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHOPT_TENSORRT", "no_such_library")
    done = runner.invoke(app, ["build", MODEL, "-o", str(tmp_path / "x.engine"), "--no-check"])
    assert 2 == done.exit_code
    assert "no TensorRT library is installed" in done.stderr
    assert "pip install graphopt[tensorrt-rtx]" in done.stderr
