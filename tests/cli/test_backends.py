"""``run``, ``bench``, ``compare`` and ``optimize`` in the runtime of a plugin that is installed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from graphopt.cli import app
from graphopt.data import digits_model
from graphopt.ir import DType, GraphBuilder
from graphopt.serde import emit_model

runner = CliRunner(env={"COLUMNS": "160"})


@pytest.fixture(autouse=True)
def _installed(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution with an entry point for the vendor's plugin."""
    folder = tmp_path_factory.mktemp("site")
    info = folder / "tape-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tape\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[graphopt]\ntape = tests.plugins.tape\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))


@pytest.fixture
def model(tmp_path: Path) -> str:
    """``y = Relu(x W)``."""
    b = GraphBuilder(opset=17)
    weights = np.arange(6, dtype=np.float32).reshape(3, 2) - 2
    b.output(b.Relu(b.MatMul(b.input("x", DType.FLOAT, ("n", 3)), weights)), "y", DType.FLOAT)
    path = tmp_path / "model.onnx"
    path.write_bytes(emit_model(b.build()).SerializeToString())
    return str(path)


def said(*arguments: str, code: int = 0) -> str:
    """What a command prints: to stdout when it ends well, else its one line."""
    shown = runner.invoke(app, list(arguments))
    assert code == shown.exit_code, shown.output
    if code == 2:
        assert ("", 1) == (shown.stdout, shown.stderr.count("\n"))
        return shown.stderr
    return shown.stdout


def test_run_gives_the_numbers_of_onnx_runtime(model: str, tmp_path: Path) -> None:
    found = []
    for backend in ("tape", "onnxruntime", "onnx"):
        out = tmp_path / f"{backend}.npz"
        said("run", model, "--backend", backend, "--seed", "3", "-o", str(out), "-q")
        found.append(np.load(out)["y"])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)
    np.testing.assert_array_equal(found[1], found[2])


def test_what_optimize_saved_is_run_as_it_is(model: str, tmp_path: Path) -> None:
    made = str(tmp_path / "made.tape")
    report = json.loads(said("optimize", model, "--target", "tape", "-o", made, "--json"))
    assert ("ok", "tape") == (report["verdict"]["status"], report["verdict"]["runtime"])
    assert [made, str(tmp_path / "made.weights")] == report["files"]
    [output] = json.loads(said("run", made, "--backend", "tape", "--json"))["outputs"]
    assert "y" == output["name"]
    assert (
        "ok"
        == json.loads(said("compare", model, made, "--backend", "tape", "--no-latency", "--json"))["verdict"]["status"]
    )
    assert "sizes can't be chosen by name" in said("run", made, "--backend", "tape", "--dim", "n=2", code=2)


def test_bench_runs_each_model_in_each_backend_in_turns(model: str, tmp_path: Path) -> None:
    made = str(tmp_path / "made.tape")
    said("optimize", model, "--target", "tape", "-o", made, "-q")
    rows = json.loads(said("bench", model, made, "--backend", "onnxruntime,tape", "--repeats", "5", "--json"))["models"]
    assert [
        (f"{model} in onnxruntime", "onnxruntime", 5),
        (f"{model} in tape", "tape", 5),
        (f"{made} in tape", "tape", 5),
    ] == [(row["model"], row["backend"], row["runs"]) for row in rows]
    [alone] = json.loads(said("bench", made, "--backend", "tape", "--repeats", "5", "--json"))["models"]
    assert made == alone["model"]


def test_one_model_is_compared_in_two_runtimes(model: str) -> None:
    found = json.loads(said("compare", model, "--backend", "tape", "--seconds", "0.05", "--json"))
    assert ("ok", "tape") == (found["verdict"]["status"], found["verdict"]["runtime"])
    assert ["onnxruntime", "tape"] == [row["backend"] for row in found["latency"]]
    wrong = json.loads(said("compare", model, "--backend", "wrong-tape", "--json", code=1))
    assert "failed" == wrong["verdict"]["status"]
    assert [] == wrong["latency"]


@pytest.mark.parametrize("command", ["run", "bench", "compare"])
def test_bad_input_is_one_line(command: str, model: str, tmp_path: Path) -> None:
    for backend, expected in (
        ("tap", "unknown backend 'tap'; did you mean 'tape'?"),
        ("silent-tape", "backend 'silent-tape' of plugin 'tape' has no runtime"),
        ("absent-tape", "no_such_tape is not installed; pip install tape"),
    ):
        assert expected in said(command, model, "--backend", backend, code=2)
    assert "a tape has no Constant" in said(command, str(digits_model()), "--backend", "tape", code=2)
    np.savez(tmp_path / "other.npz", z=np.zeros(3, np.float32))
    assert "'x'" in said(command, model, "--backend", "tape", "--inputs", str(tmp_path / "other.npz"), code=2)


def test_a_file_that_does_not_load_and_a_crash_are_one_line(model: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.tape"
    broken.write_text("[]", encoding="utf-8")
    assert "broken.tape" in said("run", str(broken), "--backend", "tape", code=2)
    assert "crashed in native code" in said("run", model, "--backend", "crashing-tape", code=2)
    assert "KeyError: 'colour'" in said("run", model, "--backend", "raising-tape", code=2)
    assert (
        "failed"
        == json.loads(said("compare", model, "--backend", "crashing-tape", "--json", code=1))["verdict"]["status"]
    )


def test_options_that_say_two_things_are_refused(model: str) -> None:
    assert "both say what runs" in said("run", model, "--backend", "tape", "--runtime", "reference", code=2)
    assert "names none, or one twice" in said("bench", model, "--backend", "tape,tape", code=2)
    assert "one model and one runtime" in said("compare", model, code=2)


def test_a_plugin_that_is_left_out_brings_no_backend(model: str) -> None:
    assert "unknown backend 'tape'" in said("run", model, "--backend", "tape", "--no-plugin", "tape", code=2)


def test_list_shows_what_runs_and_what_is_missing() -> None:
    rows = {row["name"]: row for row in json.loads(said("list", "backends", "--json"))}
    assert (True, False) == (rows["tape"]["runs"], rows["silent-tape"]["runs"])
    assert "no_such_tape is not installed; pip install tape" == rows["absent-tape"]["missing"]
    assert "not available: no_such_tape is not installed; pip install tape" in said("list", "backends")
