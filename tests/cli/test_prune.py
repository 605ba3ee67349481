"""``graphopt prune``, and the pipeline file that prunes and quantizes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from graphopt.cli import app
from graphopt.compiler.quantizing import candidates
from graphopt.data import digits_model, digits_test
from graphopt.runtime.paired import PairedTimes

runner = CliRunner(env={"COLUMNS": "200"})
MODEL = str(digits_model())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, labels, and too few of them."""
    place = tmp_path_factory.mktemp("data")
    images, labels = digits_test()
    np.savez(place / "d.npz", image=images[:64])
    np.savez(place / "y.npz", labels=labels[:64])
    np.savez(place / "few.npz", labels=labels[:7])
    return place


@pytest.fixture(autouse=True)
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything takes the same time."""
    monkeypatch.setattr(candidates, "times_of", lambda *_, **__: [PairedTimes((1e-3,) * 9, (1e-3,) * 9)])


def test_table_page_plan_and_file(folder: Path, tmp_path: Path) -> None:
    """Layers come first, then what went and what it buys; the plan does the same again, to the byte."""
    out, page, plan = tmp_path / "p.onnx", tmp_path / "p.html", tmp_path / "p.json"
    data = ["--data", str(folder / "d.npz"), "--labels", str(folder / "y.npz"), "--seconds", "0.5"]
    command = ["prune", MODEL, *data, "--channels", "flops=0.5", "--importance", "l2", "--round-to", "8"]
    shown = runner.invoke(app, [*command, "-o", str(out), "--page", str(page), "--save-plan", str(plan)])
    assert (0, "") == (shown.exit_code, shown.stderr)
    assert shown.stdout.startswith("layer ")
    assert "gone        16 indices of 2 groups" in shown.stdout
    assert "buys        channels are gone: 44% of the operations are left" in shown.stdout
    assert "frozen      2 because a window slides over it" in shown.stdout
    text = page.read_text()
    assert text.startswith("<!doctype html>")
    assert "http" not in text.replace("http-equiv", "")
    assert "/conv2/Conv" in text
    assert "it is an axis of an output" in text
    sizes = {tuple(item.dims) for item in onnx.load(out).graph.initializer}
    assert (24, 8, 3, 3) in sizes
    again = tmp_path / "again.onnx"
    shown = runner.invoke(app, ["prune", MODEL, *data, "--plan", str(plan), "-o", str(again), "-q"])
    assert (0, "", "") == (shown.exit_code, shown.stderr, shown.stdout)
    before, after = ({item.name: item.raw_data for item in onnx.load(path).graph.initializer} for path in (out, again))
    assert before == after
    for path in ("-o", str(out)), ("--page", str(page)), ("--save-plan", str(plan)):
        shown = runner.invoke(app, [*command, *path])
        assert (2, 1) == (shown.exit_code, shown.stderr.count("\n"))
        assert "exists already" in shown.stderr


def test_json(folder: Path) -> None:
    """One document with sensitivity, attempts and layers."""
    command = ["prune", MODEL, "--data", str(folder / "d.npz"), "--magnitude", "auto", "--min-sqnr", "8"]
    options = ["--ratios", "0.4", "--no-recover", "--seconds", "0.5", "--json"]
    shown = runner.invoke(app, [*command, *options])
    assert (0, "") == (shown.exit_code, shown.stderr)
    found = json.loads(shown.stdout)
    assert found["metrics"]["after"]["sqnr"] >= 8
    assert 1 == sum(item["kept"] for item in found["attempts"])
    assert {0.4} == {point["part"] for curve in found["sensitivity"] for point in curve["points"]}
    assert found["size"]["after"]["zeros"] > 0.2 * found["size"]["after"]["weights"]
    assert [] == found["files"]


def test_sensitivity_as_a_table(folder: Path) -> None:
    """A row for each group, a column for each part."""
    command = ["prune", MODEL, "--data", str(folder / "d.npz"), "--sensitivity", "--no-recover"]
    shown = runner.invoke(app, [*command, "--ratios", "0.25,0.5", "--seconds", "0.5"])
    assert (0, "") == (shown.exit_code, shown.stderr)
    head, *rows = shown.stdout.splitlines()
    assert head.startswith("sqnr of a model, without")
    assert "25% of it" in head
    assert [2, 2] == [row.count("left)") for row in rows[:2]]
    assert "gone        nothing" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing says what is to go: state --channels flops=0.5, --magnitude 0.8, --n-m 2:4"),
        (["--magnitude", "1"], "magnitude: sparsity is 1, expected the part that becomes zero, a number in [0, 1)"),
        (["--magnitude", "0.5", "--n-m", "2:4"], "magnitude and n-m are stated, expected one of them"),
        (["--channels", "flop=0.5"], "channels is given by 'flop'; expected flops=0.5"),
        (["--channels", "ratio=1"], "would remove every layer as a whole"),
        (["--channels", "flops=0.5", "--importance", "reconstruction"], "looks at activations; give data (--data)"),
        (["--channels", "flops=0.5", "--importance", "l3"], "'l3' is not one of"),
        (["--channels", "flops=0.5", "--labels", "{y}"], "there are labels, and no data"),
        (["--data", "{d}", "--max-accuracy-drop", "1%"], "an accuracy drop is stated, and no metric"),
        (["--data", "{d}", "--labels", "{few}", "--magnitude", "0.5"], "there are 7 labels, and at least 8 examples"),
        (["--data", "none.npz", "--magnitude", "0.5"], "data 'none.npz' cannot be read: no such file or folder"),
        (
            ["--data", "{d}", "--min-sqnr", "300", "--n-m", "2:4", "--no-recover"],
            "the budget can't be met: sqnr at least",
        ),
        (["--sensitivity", "-o", "{out}"], "--sensitivity alone makes no model to save"),
        (["--sensitivity", "--ratios", "a,b"], "--ratios is 'a,b', expected numbers such as"),
        (["--plan", "{d}"], "d.npz"),
        (["--magnitude", "0.5", "--include", "conf1"], "include 'conf1' fits no weight that can be pruned"),
        (["--magnitude", "0.5", "--target", "onnxruntim"], "onnxruntim"),
    ],
)
def test_bad_input_is_one_line(folder: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    """Exit code 2, nothing on stdout, nothing written."""
    places = {name: str(folder / f"{name}.npz") for name in ("d", "y", "few")} | {"out": str(tmp_path / "out.onnx")}
    shown = runner.invoke(app, ["prune", MODEL, *(item.format(**places) for item in arguments), "--seconds", "0.2"])
    assert (2, "", 1) == (shown.exit_code, shown.stdout, shown.stderr.count("\n"))
    assert said in shown.stderr
    assert [] == list(tmp_path.iterdir())


def test_the_pipeline_that_ships(folder: Path, tmp_path: Path) -> None:
    """Pruned, recovered and quantized by its name; without data it says so."""
    out = tmp_path / "p.onnx"
    command = ["optimize", MODEL, "--pipeline", "deploy-pruned-int8.toml", "--no-check", "-q"]
    shown = runner.invoke(app, [*command, "--calibrate", str(folder / "d.npz"), "-o", str(out)])
    assert (0, "") == (shown.exit_code, shown.stderr)
    proto = onnx.load(out)
    assert "DequantizeLinear" in {node.op_type for node in proto.graph.node}
    kernels = {tuple(item.dims) for item in proto.graph.initializer if len(item.dims) == 4}
    assert (16, 16, 3, 3) in kernels
    shown = runner.invoke(app, command)
    assert (2, 1) == (shown.exit_code, shown.stderr.count("\n"))
    assert "looks at data, and there is none" in shown.stderr
