"""Child processes: what a tool took comes back, and a crash or an endless run is a result."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import onnx

from benchmarks import models
from benchmarks.measure import run_process, run_tool, save_record, spread


def test_tool_in_a_child_process_reports_time_and_memory(tmp_path: Path) -> None:
    """ONNX Runtime optimizes the file; seconds and peak are those of the child."""
    source, target = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(models.chain(90), source)
    outcome = run_tool("onnxruntime", source, target)
    assert outcome.status == "ok"
    assert 0 < outcome.seconds < 60
    assert outcome.peak_bytes > 2**24
    assert len(onnx.load(target).graph.node) < 90


def test_exception_of_a_tool_is_a_result(tmp_path: Path) -> None:
    """The reason names the exception."""
    (tmp_path / "in.onnx").write_bytes(b"not a model")
    outcome = run_tool("shape inference", tmp_path / "in.onnx")
    assert outcome.status == "exception"
    assert "DecodeError" in outcome.reason


def test_child_that_does_not_end_is_killed() -> None:
    """The exit code is None then."""
    assert run_process([sys.executable, "-c", "import time; time.sleep(60)"], 0.5) == (None, "")


def test_exit_code_and_error_text_of_a_child_come_back() -> None:
    """A crash shows as a negative code, as of `subprocess`."""
    script = "import os, sys; sys.stderr.write('gone'); sys.stderr.flush(); os.abort()"
    code, text = run_process([sys.executable, "-c", script], 30)
    assert code == -6
    assert text.startswith("gone")


def test_spread_and_record(tmp_path: Path) -> None:
    """A record holds machine, versions, settings and results."""
    path = save_record("x", {"time": spread([3.0, 1.0, 2.0])}, settings={"repeats": 3}, path=tmp_path / "x.json")
    record = json.loads(path.read_text())
    assert record["results"]["time"] == {"min": 1.0, "median": 2.0, "max": 3.0, "repeats": 3}
    assert record["settings"] == {"repeats": 3}
    assert record["versions"]["onnx"] == onnx.__version__
    assert record["machine"]["cores"] >= 1
