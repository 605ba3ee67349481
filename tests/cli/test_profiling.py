"""``graphopt profile`` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from graphopt.cli import app
from graphopt.data import digits_model

runner = CliRunner(env={"COLUMNS": "200"})
MODEL = str(digits_model())


def test_tables_page_and_json(tmp_path: Path) -> None:
    """A page that is there stays, unless it may be replaced."""
    page = tmp_path / "page.html"
    np.savez(tmp_path / "in.npz", image=np.ones((2, 1, 8, 8), np.float32))
    arguments = ["profile", MODEL, "--runs", "3", "--inputs", str(tmp_path / "in.npz"), "-o", str(page)]
    shown = runner.invoke(app, arguments)
    assert (0, "") == (shown.exit_code, shown.stderr)
    for part in ("kind of work", "convolution", "what would change it", "the median of 3 runs; 1 thread"):
        assert part in shown.stdout
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    again = runner.invoke(app, arguments)
    assert (2, "", 1) == (again.exit_code, again.stdout, again.stderr.count("\n"))
    forced = runner.invoke(app, [*arguments, "--force", "--json", "--threads", "2"])
    found = json.loads(forced.stdout)
    assert (0, 3, 2) == (forced.exit_code, found["runs"], found["threads"])
    assert abs(sum(kernel["share"] for kernel in found["kernels"]) - 1) < 1e-9


def test_bad_input_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    """No file, no model, inputs that are not there, a size that is not there."""
    (tmp_path / "no.onnx").write_bytes(b"no model")
    for arguments in (
        [str(tmp_path / "none.onnx")],
        [str(tmp_path / "no.onnx")],
        [MODEL, "--inputs", str(tmp_path / "none.npz")],
        [MODEL, "--dim", "width=3"],
        [MODEL, "-o", str(tmp_path / "none" / "page.html")],
    ):
        result = runner.invoke(app, ["profile", *arguments])
        assert (2, "", 1) == (result.exit_code, result.stdout, result.stderr.count("\n")), arguments
