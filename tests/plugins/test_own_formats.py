"""Plugins read and write formats of their own, through the doors that graphopt's own formats use."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import graphopt
from graphopt.backends.base import Artifact
from graphopt.builtin_plugin import builtin_plugins
from graphopt.data import digits_model
from graphopt.errors import OutputError, UnsupportedOpError
from graphopt.hookspecs import hookimpl
from graphopt.ir import DType, GraphBuilder, Model, Node
from graphopt.passes import Lazy, PassContext
from graphopt.plugin_manager import PluginManager
from graphopt.serde import emit_model
from graphopt.target import Target


class WordsFrontend:
    """Reads operators of one input, one after the other, from a text file."""

    name = "words"

    def accepts(self, source: object) -> bool:
        return isinstance(source, str | os.PathLike) and Path(source).suffix == ".words"

    def lift(self, source: object) -> Model:
        b = GraphBuilder(opset=17)
        value = b.input("x", DType.FLOAT, (None, 4))
        for word in Path(str(source)).read_text(encoding="utf-8").split():
            value = getattr(b, word)(value)
        b.output(value, "y")
        return b.model


class ChipBackend:
    """Has a format of its own."""

    name = "chip"
    target = Target("chip")

    def legalize(self, model: Model, ctx: PassContext) -> str:
        return "legalize-onnx"

    def emit(self, model: Model) -> Artifact:
        return Artifact("chip", data=b"CHIP" + emit_model(model).SerializeToString())

    def supports(self, node: Node) -> str | None:
        return None


class Vendor:
    @hookimpl
    def graphopt_frontends(self) -> dict[str, object]:
        return {"absent": Lazy("no_such_module:Frontend", requires=("no_such_module",)), "words": WordsFrontend()}

    @hookimpl
    def graphopt_backends(self) -> dict[str, object]:
        return {"chip": ChipBackend()}


@pytest.fixture
def plugins() -> PluginManager:
    found = builtin_plugins(discover=False)
    found.register(Vendor(), name="vendor")
    return found


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "model.words"
    path.write_text("Neg Neg Relu", encoding="utf-8")
    return path


def test_path_that_a_plugin_reads_is_not_taken_for_a_broken_onnx_file(plugins, words):
    result = graphopt.optimize(words, level="O1", plugins=plugins)
    assert result.report.verdict is not None
    assert result.report.verdict.ok
    assert [node.op_type for node in result.proto.graph.node] == ["Relu"]


def test_model_of_a_plugins_format_runs(plugins, words):
    with graphopt.Session(str(words), plugins=plugins) as session:
        found = session.run({"x": np.array([[-1, 2, -3, 4]], np.float32)})
    assert isinstance(found["y"], np.ndarray)
    assert found["y"].tolist() == [[0, 2, 0, 4]]


def test_paths_that_no_plugin_reads_are_onnx_files(plugins):
    assert graphopt.optimize(digits_model(), check=False, plugins=plugins).report.nodes_after == 10


def test_saved_is_what_the_backend_emits(plugins, tmp_path):
    """Not an ONNX file under another name; it appears whole, and nothing is replaced unasked."""
    result = graphopt.optimize(digits_model(), target="chip", check=False, plugins=plugins)
    path = tmp_path / "model.chip"
    assert result.save(path) == [path]
    assert path.read_bytes() == ChipBackend().emit(result.model).data
    with pytest.raises(OutputError, match="exists already"):
        result.save(path)
    with pytest.raises(OutputError, match="target 'chip' has no external data"):
        result.save(path, external_data=True, force=True)
    with pytest.raises(UnsupportedOpError, match="target 'chip' emits chip, not an ONNX message"):
        _ = result.proto


def test_requirement_stated_as_text_is_refused():
    with pytest.raises(TypeError, match="requires is the text 'torch', expected a tuple"):
        Lazy("package:Thing", requires="torch")  # type: ignore[arg-type]  # the mistake that is tested
