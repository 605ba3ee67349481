"""``graphopt compare`` tells models apart, and says by how much."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
def other(tmp_path: Path) -> Path:
    """The digits model with one bias moved by 0.01."""
    proto = onnx.load(MODEL)
    bias = next(item for item in proto.graph.initializer if item.name == "fc.bias")
    moved = numpy_helper.to_array(bias).copy()
    moved[3] += np.float32(0.01)
    bias.CopyFrom(numpy_helper.from_array(moved, "fc.bias"))
    onnx.save(proto, tmp_path / "other.onnx")
    return tmp_path / "other.onnx"


def compared(code: int, *arguments: str) -> dict[str, Any]:
    shown = runner.invoke(app, ["compare", *arguments, "--json"])
    assert (code, "") == (shown.exit_code, shown.stderr)
    found: dict[str, Any] = json.loads(shown.stdout)
    return found


def test_a_model_equals_itself() -> None:
    """Same bits, and a latency ratio near one."""
    found = compared(0, MODEL, MODEL, "--seconds", "0.1")
    assert "ok" == found["verdict"]["status"]
    assert "same bits" in found["verdict"]["summary"]
    assert 0.2 < found["latency"][1]["against_first"]["speedup"] < 5


def test_a_difference_is_exit_code_1_with_its_size(other: Path) -> None:
    """The output, the element and the size of the difference are told; latency of a wrong model interests nobody."""
    found = compared(1, MODEL, str(other))
    assert "failed" == found["verdict"]["status"]
    [difference] = {
        (output["name"], round(output["max_abs"], 4))
        for sample in found["verdict"]["samples"]
        for output in sample["outputs"]
    }
    assert ("logits", 0.01) == difference
    assert [] == found["latency"]
    shown = runner.invoke(app, ["compare", MODEL, str(other)])
    assert 1 == shown.exit_code
    assert "logits" in shown.stdout


def test_tolerance_decides(other: Path) -> None:
    """A difference within --rtol is none."""
    assert "ok" == compared(0, MODEL, str(other), "--rtol", "0.1", "--no-latency")["verdict"]["status"]


def test_own_inputs_and_sizes_are_used(tmp_path: Path, other: Path) -> None:
    """One set of inputs: those given, or of the size given."""
    np.savez(tmp_path / "in.npz", image=np.zeros((4, 1, 8, 8), np.float32))
    for arguments in (["--inputs", str(tmp_path / "in.npz")], ["--dim", "batch=4"]):
        [sample] = compared(1, MODEL, str(other), *arguments)["verdict"]["samples"]
        assert [4, 10] == sample["outputs"][0]["shape"]


def test_other_interface_is_a_difference(tmp_path: Path) -> None:
    """A renamed output is told before any number."""
    proto = onnx.load(MODEL)
    proto.graph.node[-1].output[0] = proto.graph.output[0].name = "scores"
    onnx.save(proto, tmp_path / "renamed.onnx")
    found = compared(1, MODEL, str(tmp_path / "renamed.onnx"))
    assert any("scores" in line for line in found["verdict"]["interface"])


def test_missing_model_is_one_line(tmp_path: Path) -> None:
    """Exit code 2: nothing was compared."""
    shown = runner.invoke(app, ["compare", MODEL, str(tmp_path / "none.onnx")])
    assert (2, "") == (shown.exit_code, shown.stdout)
    assert "none.onnx" in shown.stderr
    assert 1 == shown.stderr.count("\n")
