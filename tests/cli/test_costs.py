"""``graphopt inspect --cost`` and ``graphopt bench --fit``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from graphopt.analysis.cost_model import read_cost_model, shipped_cost_model
from graphopt.cli import app, fitting
from graphopt.data import digits_model

runner = CliRunner(env={"COLUMNS": "160"})
MODEL = str(digits_model())


@pytest.fixture(autouse=True)
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read from, nor written to, the home of whoever runs the tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_nodes_and_operators_with_their_estimates() -> None:
    shown = runner.invoke(app, ["inspect", MODEL, "--cost", "--top", "2", "--dim", "batch=8"])
    assert (0, "") == (shown.exit_code, shown.stderr)
    assert "/conv2/Conv" in shown.stdout
    assert "coefficients  shipped with graphopt: onnxruntime, 1 thread" in shown.stdout
    assert "at the median node of models that were not fitted to" in shown.stdout
    found = json.loads(runner.invoke(app, ["inspect", MODEL, "--cost", "--dim", "batch=8", "--json"]).stdout)
    assert {"batch": 8} == found["sizes"]
    nodes = {node["name"]: node for node in found["nodes"]}
    assert 8 * 64 * 32 * 16 * 9 * 2 <= nodes["/conv2/Conv"]["flops"]
    assert 0 < nodes["/conv2/Conv"]["ms"] < found["ms"]
    assert pytest.approx(found["ms"], rel=1e-3) == sum(node["ms"] or 0 for node in found["nodes"])
    assert found["nodes"] != []
    assert {"op", "nodes", "flops", "bytes", "weight_bytes", "ms", "unknown"} == set(found["ops"][0])


def test_sizes_that_are_not_known_are_asked_for() -> None:
    shown = runner.invoke(app, ["inspect", MODEL, "--cost"])
    assert "sizes may tell: --dim batch=SIZE" in shown.stdout


def test_coefficients_of_a_file_are_used(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_bytes(shipped_cost_model().to_json())
    command = ["inspect", MODEL, "--cost", "--coefficients", str(path), "--json"]
    assert str(path) == json.loads(runner.invoke(app, command).stdout)["coefficients"]["from"]


def test_fitted_coefficients_are_kept_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the cache folder without a name; a file that is there is replaced on demand only."""
    asked: list[tuple[list[str], int, float]] = []

    def made_up(models, *, threads, seconds, progress):
        asked.append((list(models), threads, seconds))
        for feeds in models.values():
            assert (2, 1, 8, 8) == feeds()["image"].shape
        return shipped_cost_model()

    monkeypatch.setattr(fitting, "fit_cost_model", made_up)
    shown = runner.invoke(app, ["bench", "--fit"])
    assert (0, "") == (shown.exit_code, shown.stderr)
    kept = tmp_path / "cache" / "graphopt" / "cost-onnxruntime.json"
    assert shipped_cost_model() == read_cost_model(kept)
    assert "depthwise convolution" in shown.stdout
    assert "held out" in shown.stdout
    found = json.loads(runner.invoke(app, ["inspect", MODEL, "--cost", "--json"]).stdout)
    assert str(kept) == found["coefficients"]["from"]
    path = tmp_path / "mine.json"
    command = ["bench", MODEL, "--fit", "--coefficients", str(path), "--threads", "2", "--dim", "batch=2", "--json"]
    found = json.loads(runner.invoke(app, command).stdout)
    assert (str(path), "onnxruntime") == (found["file"], found["coefficients"]["backend"])
    assert [([], 1, 5.0), ([MODEL], 2, 5.0)] == asked
    shown = runner.invoke(app, command)
    assert (2, 1) == (shown.exit_code, shown.stderr.count("\n"))
    assert "exists already" in shown.stderr
    assert 0 == runner.invoke(app, [*command, "--force"]).exit_code


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("bench",), "no model is named"),
        (("bench", MODEL, "--coefficients", "x.json"), "--coefficients and --force are for --fit"),
        (("bench", "--fit", "--repeats", "3"), "--repeats has no meaning with --fit"),
        (("bench", "--fit", "--no-ort-optimizer"), "--no-ort-optimizer has no meaning with --fit"),
        (("bench", "--fit", "--backend", "onnx"), "--backend has no meaning with --fit"),
        (("bench", "--fit", "--inputs", "x.npz"), "--inputs is for one model"),
        (("bench", "--fit", "--coefficients", "/no/such/x.json"), "the folder '/no/such' does not exist"),
        (("inspect", MODEL, "--coefficients", "x.json"), "--coefficients is for --cost"),
        (("inspect", MODEL, "--cost", "--coefficients", "/none.json"), "can't be read"),
        (("inspect", MODEL, "--cost", "--coefficients", MODEL), "are not what graphopt bench --fit writes"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], expected: str) -> None:
    shown = runner.invoke(app, list(arguments))
    assert (2, "") == (shown.exit_code, shown.stdout)
    assert 1 == shown.stderr.count("\n")
    assert expected in shown.stderr
