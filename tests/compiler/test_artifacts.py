"""A stranger's backend, whose models are no ONNX, is optimized for, checked, run and compared as graphopt's own are."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import pytest

import graphopt
from graphopt.builtin_plugin import builtin_plugins
from graphopt.data import digits_model
from graphopt.errors import (
    ExecutionError,
    OutputError,
    PipelineError,
    PluginError,
    UnsupportedOpError,
    VerificationError,
)
from graphopt.ir import DType, GraphBuilder, Model
from graphopt.passes import Reassociates
from graphopt.plugin_manager import PluginManager
from tests.plugins import tape

X = np.array([[1, -2, 3]], np.float32)


@pytest.fixture
def plugins() -> PluginManager:
    found = builtin_plugins(discover=False)
    found.register(tape, name="tape")
    return found


@pytest.fixture
def model() -> Model:
    """``y = Relu(Neg(Neg(x)) W) + 1``."""
    b = GraphBuilder(opset=17)
    x = b.Neg(b.Neg(b.input("x", DType.FLOAT, ("n", 3))))
    weights = np.arange(6, dtype=np.float32).reshape(3, 2) - 2
    b.output(b.Add(b.Relu(b.MatMul(x, weights)), np.ones(2, np.float32)), "y", DType.FLOAT)
    return b.build()


def run(source: object, backend: str | None, plugins: PluginManager) -> npt.NDArray[np.float32]:
    """The output of a model."""
    with graphopt.Session(source, backend=backend, plugins=plugins) as session:
        found = session.run({"x": X})["y"]
    assert isinstance(found, np.ndarray)
    return found.astype(np.float32)


def test_the_result_is_checked_in_the_runtime_of_its_target(model, plugins):
    report = graphopt.optimize(model, target="tape", plugins=plugins).report
    assert report.verdict is not None
    assert ("ok", "tape") == (report.verdict.status, report.verdict.runtime)
    assert [] == report.notes
    assert report.nodes_after < report.nodes_before


def test_what_the_runtime_does_to_numbers_is_allowed_too(model, plugins):
    """An exact pipeline is not exact in another runtime."""
    report = graphopt.optimize(model, level="O1", target="tape", plugins=plugins).report
    assert report.verdict is not None
    assert str(Reassociates(1e-5)) == report.verdict.numerics


def test_what_the_runtime_computes_otherwise_is_never_written(model, plugins):
    """The graph is right; what runs is not."""
    with pytest.raises(VerificationError, match="differs from the original"):
        graphopt.optimize(model, target="wrong-tape", plugins=plugins)
    assert graphopt.optimize(model, target="wrong-tape", check=False, plugins=plugins).report.verdict is None


def test_a_runtime_that_crashes_does_not_end_this_process(model, plugins):
    with pytest.raises(VerificationError, match="crash"):
        graphopt.optimize(model, level="O0", target="crashing-tape", plugins=plugins)


def test_a_target_without_runtime_is_checked_as_onnx_with_a_note(model, plugins):
    report = graphopt.optimize(model, target="silent-tape", plugins=plugins).report
    assert report.verdict is not None
    assert "ok" == report.verdict.status
    assert ["target 'silent-tape' has no runtime: the check ran the model as ONNX, before the target's own form"] == (
        report.notes
    )


def test_a_node_that_the_backend_lacks_is_told_before_anything_is_written(plugins):
    with pytest.raises(UnsupportedOpError, match="a tape has no Conv"):
        graphopt.optimize(digits_model(), target="tape", plugins=plugins)


def test_both_files_are_written_and_the_saved_one_runs(model, plugins, tmp_path):
    result = graphopt.optimize(model, target="tape", plugins=plugins)
    path = tmp_path / "model.tape"
    assert [path, tmp_path / "model.weights"] == result.save(path)
    np.testing.assert_allclose(run(path, "tape", plugins), run(model, None, plugins), rtol=1e-6)


def test_an_optimized_model_runs_where_it_was_made_for(model, plugins):
    result = graphopt.optimize(model, target="tape", plugins=plugins)
    assert (1, 2) == run(result, None, plugins).shape
    wrong = graphopt.optimize(model, target="wrong-tape", check=False, plugins=plugins)
    np.testing.assert_allclose(run(wrong, None, plugins), run(result, None, plugins) + 1, rtol=1e-6)


def test_files_appear_all_or_none(model, plugins, tmp_path):
    result = graphopt.optimize(model, target="tape", check=False, plugins=plugins)
    (tmp_path / "model.weights").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="exists already"):
        result.save(tmp_path / "model.tape")
    assert ["model.weights"] == [path.name for path in tmp_path.iterdir()]
    with pytest.raises(OutputError, match=r"does not end in '.tape', .* name it 'model.tape'"):
        result.save(tmp_path / "model.onnx")
    result.save(tmp_path / "model.tape", force=True)
    assert "tape" in json.loads((tmp_path / "model.tape").read_text(encoding="utf-8"))


def test_two_runtimes_are_compared(model, plugins):
    assert graphopt.compare(model, model, backend="tape", plugins=plugins).ok
    assert "failed" == graphopt.compare(model, model, backend="wrong-tape", plugins=plugins).status


def test_unknown_backends_and_those_without_runtime_are_told(model, plugins):
    with pytest.raises(PipelineError, match="unknown backend 'tap'; did you mean 'tape'"):
        graphopt.Session(model, backend="tap", plugins=plugins)
    with pytest.raises(
        ExecutionError, match=r"'silent-tape' of plugin 'tape' has no runtime.*that run: onnx, onnxruntime"
    ):
        graphopt.Session(model, backend="silent-tape", plugins=plugins)
    with pytest.raises(PluginError, match="no_such_tape is not installed; pip install tape"):
        graphopt.Session(model, backend="absent-tape", plugins=plugins)


def test_backends_say_whether_they_run(plugins):
    runs = {row["name"]: row["runs"] for row in plugins.describe("backends")}
    assert {"onnx", "onnxruntime", "tape"} <= {name for name, yes in runs.items() if yes}
    assert not runs["silent-tape"]
