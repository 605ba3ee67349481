"""Runtimes of backends, those of strangers among them, open files and are held to what they say of themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphopt.backends import save_artifact
from graphopt.data import digits_model
from graphopt.errors import ExecutionError, PluginError
from graphopt.ir import DType, GraphBuilder
from graphopt.numerics import Exact
from graphopt.passes import Lazy
from graphopt.runtime import RunOptions
from graphopt.runtime.runtimes import load_runtime, open_file, open_file_isolated
from tests.plugins import tape

X = np.array([[1, -2]], np.float32)


def lazy(name: str) -> Lazy:
    return Lazy(f"tests.plugins.tape:{name}", make=True)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A tape of ``y = Relu(x) + 3``."""
    b = GraphBuilder(opset=17)
    b.output(b.Add(b.Relu(b.input("x", DType.FLOAT, (None, 2))), np.float32(3)), "y", DType.FLOAT)
    path = tmp_path / "model.tape"
    save_artifact(tape.TapeBackend().emit(b.build()), path, force=False)
    return path


@pytest.mark.parametrize("opening", [open_file, open_file_isolated])
@pytest.mark.parametrize("stated", [lazy("TapeRuntime"), tape.TapeRuntime()], ids=["lazy", "object"])
def test_what_a_backend_saved_runs(saved, stated, opening):
    with opening("tape", stated, saved, RunOptions()) as runner:
        assert ["x"] == [spec.name for spec in runner.inputs]
        assert ["y"] == [spec.name for spec in runner.outputs]
        np.testing.assert_array_equal(runner.run({"x": X})["y"], [[4, 3]])


def test_onnx_runtime_comes_through_the_same_door():
    stated = Lazy("graphopt.runtime.onnxruntime_runtime:OrtRuntime", make=True)
    runtime = load_runtime("onnxruntime", stated)
    assert (".onnx", Exact()) == (runtime.suffix, runtime.numerics)
    image = np.zeros((1, 1, 8, 8), np.float32)
    with open_file_isolated("onnxruntime", stated, digits_model(), RunOptions(threads=1)) as runner:
        logits = runner.run({"image": image})["logits"]
    assert isinstance(logits, np.ndarray)
    assert (1, 10) == logits.shape


def test_feeds_are_looked_at_before_the_runtime_sees_them(saved):
    with open_file("tape", tape.TapeRuntime(), saved, RunOptions()) as runner:
        with pytest.raises(ExecutionError, match="input 'x' is missing"):
            runner.run({})
        with pytest.raises(ExecutionError, match="the model has no input 'z'"):
            runner.run({"x": X, "z": X})


def test_a_failure_inside_names_the_backend(saved):
    runner = open_file("tape", tape.TapeRuntime(), saved, RunOptions())
    with pytest.raises(ExecutionError, match="backend 'tape' failed to run the model: TypeError"):
        runner.run({"x": np.array(["text"], object)})
    runner.close()
    with pytest.raises(ExecutionError, match="the runner is closed"):
        runner.run({"x": X})


def test_a_bug_of_a_runtime_is_one_line_with_its_name(saved):
    with pytest.raises(ExecutionError, match=r"backend 'raising-tape' does not load .*KeyError: 'colour'"):
        open_file("raising-tape", lazy("RaisingRuntime"), saved, RunOptions())


def test_a_crash_is_an_error_where_the_runtime_is_lazy(saved):
    with pytest.raises(ExecutionError, match="crashed in native code with SIGABRT"):
        open_file_isolated("crashing-tape", lazy("CrashingRuntime"), saved, RunOptions())


def test_outputs_are_those_that_were_declared(saved):
    with (
        open_file("forgetful-tape", lazy("ForgetfulRuntime"), saved, RunOptions()) as runner,
        pytest.raises(PluginError, match=r"run gave \[\], expected a dict with \['y'\]"),
    ):
        runner.run({"x": X})


def test_a_file_that_is_broken_or_not_there_is_told(saved, tmp_path):
    with pytest.raises(ExecutionError, match="is no file"):
        open_file("tape", tape.TapeRuntime(), tmp_path / "none.tape", RunOptions())
    saved.write_text("{", encoding="utf-8")
    with pytest.raises(ExecutionError, match="is no tape"):
        open_file("tape", tape.TapeRuntime(), saved, RunOptions())


class NoRunner(tape.TapeRuntime):
    def open(self, path, options):
        return path


class WrongSpecs(tape.TapeRuntime):
    def open(self, path, options):
        runner = tape.TapeRunner(path)
        runner._inputs = ("x",)  # type: ignore[assignment]  # the mistake
        return runner


def test_what_is_no_runtime_is_told(saved):
    with pytest.raises(PluginError, match="str is no runtime, expected suffix, numerics and open"):
        load_runtime("tape", "text")  # type: ignore[arg-type]  # the mistake
    with pytest.raises(PluginError, match=r"open gave a .*Path, expected a Runner"):
        open_file("tape", NoRunner(), saved, RunOptions())
    with pytest.raises(PluginError, match="inputs has a str, expected ValueSpec"):
        open_file("tape", WrongSpecs(), saved, RunOptions())


def test_what_is_not_installed_is_told_with_the_line_that_installs_it():
    missing = Lazy("x:Y", requires=("no_such_tape",), install="pip install tape")
    with pytest.raises(PluginError, match="runtime of backend 'tape': no_such_tape is not installed; pip install tape"):
        load_runtime("tape", missing)
