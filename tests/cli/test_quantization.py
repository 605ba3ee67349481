"""``graphopt quantize`` and ``graphopt evaluate``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from graphopt.cli import app
from graphopt.compiler.quantizing import assembling, candidates
from graphopt.data import digits_model, digits_test
from graphopt.runtime.paired import PairedTimes

runner = CliRunner(env={"COLUMNS": "200"})
MODEL = str(digits_model())
QUICK = ["--form", "static", "--accuracy", "none", "--calibrator", "min-max", "--no-check"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, labels, and too few of them."""
    place = tmp_path_factory.mktemp("data")
    images, labels = digits_test()
    np.savez(place / "d.npz", image=images[:96])
    np.savez(place / "y.npz", labels=labels[:96])
    np.savez(place / "few.npz", labels=labels[:7])
    return place


@pytest.fixture(autouse=True)
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything takes the same time, and no layers are compared."""
    monkeypatch.setattr(candidates, "times_of", lambda *_, **__: [PairedTimes((1e-3,) * 9, (1e-3,) * 9)])
    monkeypatch.setattr(assembling, "_errors", lambda *_: {})


def test_table_page_and_file(folder: Path, tmp_path: Path) -> None:
    """What will help comes first, then layers, then what is kept; the page loads nothing and the model runs."""
    out, page = tmp_path / "q.onnx", tmp_path / "q.html"
    command = ["quantize", MODEL, "--data", str(folder / "d.npz"), "--labels", str(folder / "y.npz"), *QUICK]
    shown = runner.invoke(app, [*command, "-o", str(out), "--page", str(page)])
    assert (0, "") == (shown.exit_code, shown.stderr)
    lines = [line.split("  ")[0] for line in shown.stdout.splitlines()]
    assert ["processor", "model", "prospects", "layer"] == lines[:4]
    assert "kept       static 4" in shown.stdout
    assert "ranges by  min-max" in shown.stdout
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(out).graph.node}
    text = page.read_text()
    assert text.startswith("<!doctype html>")
    assert "http" not in text.replace("http-equiv", "")
    assert 4 == text.count('role="img"')
    assert "/conv2/Conv" in text
    again = runner.invoke(app, [*command, "-o", str(out)])
    assert (2, 1) == (again.exit_code, again.stderr.count("\n"))
    assert "exists already" in again.stderr


def test_json_and_a_budget(folder: Path, tmp_path: Path) -> None:
    """One document, with the curve."""
    command = ["quantize", MODEL, "--data", str(folder / "d.npz"), *QUICK, "--min-sqnr", "44", "--json"]
    page = tmp_path / "q.html"
    shown = runner.invoke(app, [*command, "--page", str(page)])
    assert (0, "") == (shown.exit_code, shown.stderr)
    found = json.loads(shown.stdout)
    assert found["metrics"]["after"]["sqnr"] >= 44
    assert {"static", "float"} == {layer["form"] for layer in found["layers"]}
    assert 1 == sum(point["kept"] for point in found["curve"])
    assert [str(page)] == found["files"]
    assert '<circle class="kept"' in page.read_text()
    assert "exact" not in json.dumps(found["metrics"])


def test_evaluate(folder: Path) -> None:
    """By labels, and beside a reference; as a table and as JSON."""
    command = ["evaluate", MODEL, "--data", str(folder / "d.npz")]
    shown = runner.invoke(app, [*command, "--labels", str(folder / "y.npz"), "--reference", MODEL])
    assert (0, "") == (shown.exit_code, shown.stderr)
    assert "top1           97.92 %" in shown.stdout
    found = json.loads(runner.invoke(app, [*command, "--reference", MODEL, "--metric", "sqnr", "--json"]).stdout)
    assert (96, 12) == (found["examples"], found["batches"])
    assert found["metrics"]["sqnr"] == "inf" or found["metrics"]["sqnr"] > 100


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["quantize", MODEL, "--data", "none.npz"], "data 'none.npz' cannot be read: no such file or folder"),
        (
            ["quantize", MODEL, "--form", "static"],
            "form 'static' needs data to find ranges; give some (--data), or a table",
        ),
        (["quantize", MODEL, "--form", "statc"], "'statc' is not one of"),
        (
            ["quantize", MODEL, "--data", "{d}", "--calibrator", "entropi"],
            "unknown calibrator 'entropi'; did you mean 'entropy'",
        ),
        (["quantize", MODEL, "--data", "{d}", "--labels", "{few}"], "there are 7 labels, and at least 8 examples"),
        (
            ["quantize", MODEL, "--data", "{d}", "--target", "onnxruntime-cuda"],
            "target 'onnxruntime-cuda' has no integers",
        ),
        (
            ["quantize", MODEL, "--data", "{d}", *QUICK, "--min-sqnr", "300"],
            "the budget can't be met: sqnr at least 300.00 dB",
        ),
        (
            ["quantize", MODEL, "--data", "{d}", "--max-accuracy-drop", "much"],
            "the accuracy drop 'much' is not understood",
        ),
        (["quantize", MODEL, "--data", "{d}", "--table", "{y}"], "y.npz"),
        (["evaluate", MODEL, "--data", "{d}"], "nothing to judge by: give labels, or a reference model, or both"),
        (
            ["evaluate", MODEL, "--data", "{d}", "--labels", "{y}", "--metric", "top2"],
            "unknown metric 'top2'; did you mean",
        ),
        (["evaluate", MODEL, "--data", "{d}", "--labels", "{few}"], "there are 7 labels, and at least 8 examples"),
        (["evaluate", MODEL, "--data", "{d}", "--labels", "{y}", "--backend", "ort"], "unknown backend 'ort'"),
    ],
)
def test_bad_input_is_one_line(folder: Path, arguments: list[str], said: str) -> None:
    """Exit code 2, nothing on stdout but what is known before."""
    places = {name: str(folder / f"{name}.npz") for name in ("d", "y", "few")}
    shown = runner.invoke(app, [item.format(**places) for item in [*arguments, "-q"]])
    assert (2, "", 1) == (shown.exit_code, shown.stdout, shown.stderr.count("\n"))
    assert said in shown.stderr


def test_the_pipeline_that_ships(folder: Path, tmp_path: Path) -> None:
    """By its name, with data from an option or from a copy of the file."""
    out = tmp_path / "q.onnx"
    command = ["optimize", MODEL, "--pipeline", "deploy-int8.toml", "--no-check", "-q"]
    shown = runner.invoke(app, [*command, "--calibrate", str(folder / "d.npz"), "-o", str(out)])
    assert (0, "") == (shown.exit_code, shown.stderr)
    assert "DequantizeLinear" in {node.op_type for node in onnx.load(out).graph.node}
    shown = runner.invoke(app, command)
    assert (2, 1) == (shown.exit_code, shown.stderr.count("\n"))
    assert "there is no calibration data" in shown.stderr
    copy = tmp_path / "mine.toml"
    copy.write_text('pipeline = "quantize-static"\n[calibration]\ndata = "d.npz"\ncalibrator = "min-max"\nlimit = 32\n')
    (tmp_path / "d.npz").write_bytes((folder / "d.npz").read_bytes())
    again = tmp_path / "again.onnx"
    shown = runner.invoke(app, ["optimize", MODEL, "--pipeline", str(copy), "--no-check", "-q", "-o", str(again)])
    assert (0, "") == (shown.exit_code, shown.stderr)
    copy.write_text('pipeline = "quantize-static"\n[calibration]\ndatta = "d.npz"\n')
    shown = runner.invoke(app, ["optimize", MODEL, "--pipeline", str(copy), "-q"])
    assert "section [calibration] has no 'datta'; did you mean 'data'?" in shown.stderr
