"""``graphopt demo`` shows that the shipped model becomes smaller and stays right."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
from typer.testing import CliRunner

from graphopt.cli import app
from graphopt.data import digits_model

runner = CliRunner(env={"COLUMNS": "160"})


def test_demo_reports_before_and_after(tmp_path: Path) -> None:
    """Fewer nodes, no larger file, the same accuracy; the file is where it says."""
    path = tmp_path / "fast.onnx"
    shown = runner.invoke(app, ["demo", "-o", str(path), "--json"])
    assert (0, "") == (shown.exit_code, shown.stderr)
    found = json.loads(shown.stdout)
    before, after = found["before"], found["after"]
    assert len(onnx.load(digits_model()).graph.node) == before["nodes"]
    assert len(onnx.load(path).graph.node) == after["nodes"] < before["nodes"] // 2
    assert after["bytes"] <= before["bytes"] * 1.01
    assert before["accuracy"] == after["accuracy"] > 0.97
    assert "ok" == found["report"]["verdict"]["status"]
    assert str(path) == found["saved"]
    assert found["ratio"]["low"] <= found["ratio"]["speedup"] <= found["ratio"]["high"]


def test_demo_prints_what_each_pass_did() -> None:
    """Passes, nodes, size, latency, accuracy, and where the result is: a temporary folder."""
    shown = runner.invoke(app, ["demo"])
    assert (0, "") == (shown.exit_code, shown.stderr)
    for text in ("fuse-conv-batch-norm", "nodes", "file", "latency", "accuracy", "speed: ", "check     ok"):
        assert text in shown.stdout, text
    saved = Path(shown.stdout.split("saved: ")[1].strip())
    assert saved.exists()
    saved.unlink()
    saved.parent.rmdir()
