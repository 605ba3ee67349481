"""``graphopt build --hybrid``, and the folder run, measured and compared on a GPU that is none."""

from __future__ import annotations

import json
import sys

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from graphopt import Session
from graphopt.cli import app
from graphopt.compiler import artifacts
from graphopt.compiler.engines import building
from graphopt.data import digits_model
from tests.backends.tensorrt.library import close, expected, needs_library
from tests.runtime.tensorrt.engines import Bench

runner = CliRunner(env={"COLUMNS": "200"})
MODEL = """<ir_version: 8, opset_import: ["": 17]>
cut (float[n,4,4] x) => (float[n,4,4] y)
{
  d = Det (x)
  axes = Constant <value = int64[2] {1, 2}> ()
  wide = Unsqueeze (d, axes)
  a = MatMul (x, x)
  b = Sigmoid (a)
  c = Mul (b, wide)
  y = MatMul (c, x)
}"""
DIM = ["--dim", "n=1,2,8"]


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(MODEL), path)
    return str(path)


@pytest.fixture
def machine(monkeypatch):
    """Where commands build and run for a GPU that is none."""
    bench = Bench.new()
    find = artifacts.find_runtime
    monkeypatch.setattr(
        artifacts, "find_runtime", lambda env, name: bench.runtime if name == "tensorrt" else find(env, name)
    )
    monkeypatch.setattr(building, "library_for", lambda target: bench.api)
    monkeypatch.setattr("graphopt.compiler.hybrid.building.library_for", lambda target: bench.api)
    monkeypatch.setattr("graphopt.backends.tensorrt.backend.load", lambda: bench.api)
    return bench


def said(*arguments: str, code: int = 0) -> str:
    """What a command prints: to stdout when it ends well, else its one line."""
    shown = runner.invoke(app, list(arguments))
    assert code == shown.exit_code, shown.output
    if code == 2:
        assert ("", 1) == (shown.stdout, shown.stderr.count("\n"))
        return shown.stderr
    return shown.stdout


def run_bound(tmp_path, *arguments: str) -> np.ndarray:
    """The output ``y`` of a run on two random matrices, and what ONNX Runtime gives."""
    np.savez(tmp_path / "in.npz", x=np.random.default_rng(0).standard_normal((2, 4, 4), np.float32))
    out = tmp_path / "out.npz"
    said("run", *arguments, "--inputs", str(tmp_path / "in.npz"), "-o", str(out), "-f", "-q")
    found: np.ndarray = np.load(out)["y"]
    return found


@needs_library
def test_a_folder_is_built_run_measured_and_compared(tmp_path, model, machine):
    folder = str(tmp_path / "parts")
    told = json.loads(said("build", model, "-o", folder, "--hybrid", *DIM, "--json", "--no-check"))
    assert ["onnxruntime", "tensorrt"] == [part["backend"] for part in told["parts"]]
    wanted = expected(onnx.load(model), {"x": np.random.default_rng(0).standard_normal((2, 4, 4), np.float32)})["y"]
    assert close(run_bound(tmp_path, folder), wanted)
    assert close(run_bound(tmp_path, folder, "--backend", "tensorrt"), wanted)
    assert "ok" in said("compare", model, folder, "--no-latency", "--samples", "2", "--dim", "n=3", "--rtol", "1e-3")
    rows = json.loads(said("bench", folder, model, "--repeats", "2", "--warmup", "1", "--dim", "n=2", "--json"))[
        "models"
    ]
    assert [folder, model] == [row["model"] for row in rows]
    assert {} == machine.cuda.held, "everything was given back"
    assert "unknown backend 'nope'" in said("run", folder, "--backend", "nope", code=2)
    assert "--runtime reference runs ONNX models" in said("run", folder, "--runtime", "reference", code=2)
    shown = said("inspect", folder)
    assert "2, 1 of them for tensorrt" in shown
    assert "000-rest.onnx" in shown
    assert "x: float[n, 4, 4]" in shown
    assert told["parts"] == json.loads(said("inspect", folder, "--json"))["parts"]
    with Session(folder) as session:
        assert ["x: float[n, 4, 4]"] == [str(spec) for spec in session.inputs]
    assert "exists already" in said("build", model, "-o", folder, "--hybrid", *DIM, "--no-check", code=2)
    assert "saved: 2 parts" in said("build", model, "-o", folder, "--hybrid", *DIM, "--no-check", "--force")


@needs_library
def test_an_engine_is_run_measured_and_compared(tmp_path, machine):
    model, made = str(digits_model()), str(tmp_path / "digits.engine")
    said("build", model, "-o", made, "--no-check", "--dim", "batch=1,4,8", "-q")
    assert "logits" in said("run", made, "--seed", "1")
    assert "logits" in said("run", model, "--backend", "tensorrt", "--dim", "batch=2")
    assert "ok" in said("compare", model, made, "--no-latency", "--samples", "1", "--dim", "batch=2", "--rtol", "1e-3")
    assert "ok" in said("compare", model, "--backend", "tensorrt", "--dim", "batch=2", "--no-latency", "--rtol", "1e-3")
    rows = json.loads(said("bench", made, "--repeats", "2", "--json"))["models"]
    assert ["tensorrt"] == [row["backend"] for row in rows]
    assert {} == machine.cuda.held


@needs_library
def test_a_model_of_types_that_tensorrt_lacks(tmp_path, machine):
    """The engine that is made to run it has a manifest, which says what the model declares."""
    path, inputs, outputs = (tmp_path / name for name in ("double.onnx", "in.npz", "out.npz"))
    text = '<ir_version: 8, opset_import: ["": 17]> g (double[n] x) => (double[n] y) { y = Neg (x) }'
    onnx.save(onnx.parser.parse_model(text), path)
    np.savez(inputs, x=np.array([1.5, -2.25, 3.0]))
    said("run", str(path), "--backend", "tensorrt", "--inputs", str(inputs), "-o", str(outputs), "-q")
    found = np.load(outputs)["y"]
    assert found.dtype == np.float64
    np.testing.assert_array_equal([-1.5, 2.25, -3.0], found)
    compared = [
        "compare",
        str(path),
        "--backend",
        "tensorrt",
        "--inputs",
        str(inputs),
        "--no-latency",
        "--rtol",
        "1e-3",
    ]
    assert "ok" in said(*compared)


@needs_library
def test_optimize_writes_an_engine_with_its_manifest(tmp_path):
    made = tmp_path / "made.engine"
    said("optimize", str(digits_model()), "-o", str(made), "--target", "tensorrt", "--set-dim", "batch=2", "-q")
    assert made.stat().st_size == json.loads((tmp_path / "made.engine.json").read_text())["bytes"]
    shown = said(
        "optimize", str(digits_model()), "-o", str(made), "--target", "tensorrt", "--force", "--no-check", code=2
    )
    assert "state its sizes: --set-dim batch=SIZE, or for ranges of them, graphopt build --dim" in shown
    other = str(tmp_path / "made.onnx")
    shown = said("optimize", str(digits_model()), "-o", other, "--target", "tensorrt", "--set-dim", "batch=2", code=2)
    assert "does not end in '.engine'" in shown


@needs_library
def test_a_model_whose_sizes_nobody_states(machine):
    reason = "input 'image' is float[batch, 1, 8, 8]; state its sizes: --dim batch=SIZE, or --inputs FILE.npz"
    assert "foo" in said("run", str(digits_model()), "--backend", "tensorrt", "--dim", "foo=2", code=2)
    for command in (["run"], ["bench"], ["compare"]):
        assert reason in said(*command, str(digits_model()), "--backend", "tensorrt", code=2)


@needs_library
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ([], "'x' has sizes that are not fixed (n); state them for the engines: --dim n=MIN,USUAL,MAX"),
        ([*DIM, "--layers"], "--layers is for a single engine, and --hybrid makes a folder of parts"),
        ([*DIM, "--timing-cache", "cache"], "--timing-cache is for a single engine"),
        ([*DIM, "--precision", "int8"], "precision int8 needs examples to quantize with"),
        ([*DIM, "--sm", "999"], "knows no compute capability '999'"),
    ],
)
def test_bad_options(tmp_path, model, options, reason):
    assert reason in said("build", model, "-o", str(tmp_path / "parts"), "--hybrid", "--no-check", *options, code=2)
    assert ["model.onnx"] == [item.name for item in tmp_path.iterdir()]


@needs_library
def test_what_is_not_taken_points_to_parts(tmp_path, model):
    shown = said("build", model, "-o", str(tmp_path / "x.engine"), "--no-check", *DIM, code=2)
    assert "ONNX Runtime takes that part with --hybrid, graphopt partition shows the cut" in shown


@needs_library
@pytest.mark.skipif(sys.platform == "win32", reason="drivers have another name there")
def test_without_a_gpu_each_command_says_so_in_one_line(tmp_path, model, monkeypatch):
    monkeypatch.setattr("graphopt.runtime.tensorrt.driver.DRIVER_LIBRARIES", ("libno_such_driver.so",))
    folder, engine = str(tmp_path / "parts"), tmp_path / "x.engine"
    said("build", model, "-o", folder, "--hybrid", *DIM, "--no-check", "-q")
    engine.write_bytes(b"engine")
    reason = "there is no NVIDIA driver (libno_such_driver.so can't be loaded)"
    for command in (
        ["run", folder],
        ["bench", folder],
        ["compare", model, folder],
        ["run", str(engine)],
        ["bench", str(engine)],
        ["compare", model, str(engine)],
        ["run", model, "--backend", "tensorrt"],
        ["bench", model, "--backend", "tensorrt"],
        ["compare", model, "--backend", "tensorrt"],
    ):
        assert reason in said(*command, code=2), command


def test_a_folder_that_is_none(tmp_path):
    assert "cannot be read" in said("inspect", str(tmp_path), code=2)
    for command in (["run", str(tmp_path)], ["bench", str(tmp_path)], ["compare", str(digits_model()), str(tmp_path)]):
        assert "is a folder without 'manifest.json'" in said(*command, code=2)
