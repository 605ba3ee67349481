"""``graphopt diff`` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner

from graphopt.cli import app
from graphopt.data import digits_model

runner = CliRunner(env={"COLUMNS": "160"})
MODEL = str(digits_model())


@pytest.fixture
def other(tmp_path: Path) -> str:
    """The digits model with another activation."""
    proto = onnx.load(MODEL)
    next(node for node in proto.graph.node if node.name == "/relu2/Relu").op_type = "Sigmoid"
    onnx.save(proto, tmp_path / "other.onnx")
    return str(tmp_path / "other.onnx")


def test_a_difference_is_shown_and_is_no_failure(other: str) -> None:
    """What it is, and the exit code only when asked."""
    shown = runner.invoke(app, ["diff", MODEL, other])
    assert (0, "") == (shown.exit_code, shown.stderr)
    assert "/relu2/Relu (Relu): operator: Relu -> Sigmoid" in shown.stdout
    assert 1 == runner.invoke(app, ["diff", MODEL, other, "--exit-code"]).exit_code
    assert 0 == runner.invoke(app, ["diff", MODEL, MODEL, "--exit-code"]).exit_code


def test_json_has_all_of_it(other: str) -> None:
    """One document."""
    shown = runner.invoke(app, ["diff", MODEL, other, "--json"])
    found = json.loads(shown.stdout)
    assert (True, 25) == (found["different"], found["same"])
    assert ["/relu2/Relu"] == [pair["before"]["name"] for pair in found["changed"]]


def test_missing_model_is_one_line(tmp_path: Path) -> None:
    """Exit code 2, and nothing on stdout."""
    shown = runner.invoke(app, ["diff", MODEL, str(tmp_path / "none.onnx")])
    assert (2, "", 1) == (shown.exit_code, shown.stdout, shown.stderr.count("\n"))
    assert "none.onnx" in shown.stderr
