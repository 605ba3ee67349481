"""A stranger's backend gets folders of parts as TensorRT does, and says why it does not run where its device lacks."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import graphopt
from graphopt.builtin_plugin import builtin_plugins
from graphopt.compiler.hybrid import build_hybrid, checking
from graphopt.data import digits_model
from graphopt.errors import ExecutionError, VerificationError
from graphopt.passes import Lazy
from tests.backends.tensorrt.library import needs_library
from tests.plugins import tape
from tests.runtime.tensorrt.engines import Bench

MODEL = """<ir_version: 8, opset_import: ["": 17]>
g (float[n,3] x) => (float[n,2] y)
<float[3,3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9}, float[3,2] v = {1, 2, 3, 4, 5, 6}>
{ a = MatMul (x, w) b = Relu (a) c = Neg (b) d = Softmax (c) e = MatMul (d, v) f = Neg (e) y = Mul (f, f) }"""
X = np.array([[1, -2, 3]], np.float32)


@pytest.fixture
def plugins():
    found = builtin_plugins(discover=False)
    found.register(tape, name="tape")
    return found


def test_a_folder_of_tapes(tmp_path, plugins):
    model = onnx.parser.parse_model(MODEL)
    built = build_hybrid(model, tmp_path / "parts", target="tape", level="O0", plugins=plugins)
    assert ["tape", "onnxruntime", "tape"] == [part.backend for part in built.manifest.parts]
    assert built.verdict is not None
    assert ("ok", "hybrid") == (built.verdict.status, built.checked_in), (
        "tapes run here, so the folder is checked as it is"
    )
    verdict = graphopt.compare(model, tmp_path / "parts", rtol=1e-5, plugins=plugins)
    assert "ok" == verdict.status
    with graphopt.Session(tmp_path / "parts", plugins=plugins) as session, graphopt.Session(model) as whole:
        np.testing.assert_allclose(session.run({"x": X})["y"], whole.run({"x": X})["y"], rtol=1e-5)  # type: ignore[arg-type]


def test_a_part_that_crashes_is_no_folder(tmp_path, plugins, monkeypatch):
    """The parts run in a child process where they can; its end is a failed check."""
    monkeypatch.setattr(tape.TapeRuntime, "available", lambda self: None, raising=False)
    runtime = Lazy("tests.plugins.tape:CrashingRuntime", make=True)
    ort = Lazy("graphopt.runtime.onnxruntime_runtime:OrtRuntime", make=True)
    monkeypatch.setattr(checking, "find_runtime", lambda environment, name: runtime if name == "tape" else ort)
    with pytest.raises(VerificationError, match=r"a part crashes its runtime: .*SIGABRT.*nothing was written"):
        build_hybrid(onnx.parser.parse_model(MODEL), tmp_path / "parts", target="tape", level="O0", plugins=plugins)
    assert [] == list(tmp_path.iterdir())


def test_a_device_that_is_not_there(tmp_path, plugins, monkeypatch):
    monkeypatch.setattr(
        tape.TapeRuntime, "available", lambda self: "there is no tape drive; plug one in", raising=False
    )
    model = onnx.parser.parse_model(MODEL.replace("d = Softmax (c)", "d = Neg (c)"))
    with pytest.raises(ExecutionError, match="backend 'tape' does not run here: there is no tape drive; plug one in"):
        graphopt.Session(model, backend="tape", plugins=plugins)
    report = graphopt.optimize(model, target="tape", plugins=plugins).report
    assert report.verdict is not None
    assert "ok" == report.verdict.status
    [note] = report.notes
    assert (
        "target 'tape' does not run here (there is no tape drive; plug one in): the check ran the model as ONNX, before the "
        "target's own form"
    ) == note
    built = build_hybrid(onnx.parser.parse_model(MODEL), tmp_path / "parts", target="tape", level="O0", plugins=plugins)
    assert "onnxruntime" == built.checked_in
    with pytest.raises(
        ExecutionError, match=r"has parts for backend 'tape', which does not run here: there is no tape drive"
    ):
        graphopt.Session(tmp_path / "parts", plugins=plugins)


@needs_library
def test_with_a_gpu_optimize_checks_the_engine(monkeypatch):
    from graphopt.compiler import artifacts, target_form

    bench = Bench.new()
    for module in (artifacts, target_form):
        find = module.find_runtime
        monkeypatch.setattr(
            module,
            "find_runtime",
            lambda env, name, find=find: bench.runtime if name == "tensorrt" else find(env, name),
        )
    monkeypatch.setattr("graphopt.backends.tensorrt.backend.load", lambda: bench.api)
    report = graphopt.optimize(digits_model(), target="tensorrt", set_dims={"batch": 3}).report
    assert report.verdict is not None
    assert ("ok", "tensorrt", []) == (report.verdict.status, report.verdict.runtime, report.notes)
    assert "re-associates (rtol 0.001)" == report.verdict.numerics
