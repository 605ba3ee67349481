"""Folders of parts: run in order, memory given back early; whatever a stranger writes into a manifest is one line."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest

from graphopt.errors import ExecutionError, PluginError
from graphopt.numerics import Exact
from graphopt.passes import Lazy
from graphopt.runtime import RunOptions
from graphopt.runtime.hybrid.manifest import is_hybrid, read_manifest, specs_of, type_text
from graphopt.runtime.hybrid.runner import HybridRuntime
from graphopt.runtime.runtimes import open_file, open_file_isolated, why_unavailable

ORT = Lazy("graphopt.runtime.onnxruntime_runtime:OrtRuntime", make=True)
RUNTIME = HybridRuntime({"onnxruntime": ORT})
HEAD = '<ir_version: 8, opset_import: ["": 17]> part '
FIRST = "(float[n] x) => (float[n] a, float[n] b) { a = Neg (x) b = Exp (x) }"
SECOND = "(float[n] a, float[n] b, float[n] w) => (float[n] y) { c = Add (a, b) y = Mul (c, w) }"
X, W = np.array([1, 2], np.float32), np.array([3, -1], np.float32)


def part(folder: Path, name: str, text: str) -> dict[str, Any]:
    model = onnx.parser.parse_model(HEAD + text)
    onnx.save(model, folder / name)
    return {
        "backend": "onnxruntime",
        "file": name,
        "files": {name: hashlib.sha256((folder / name).read_bytes()).hexdigest()},
        "inputs": [value.name for value in model.graph.input],
        "outputs": [value.name for value in model.graph.output],
    }


def plain(folder: Path) -> dict[str, Any]:
    return {
        "kind": "graphopt-hybrid",
        "format": 1,
        "inputs": {"x": "float[n]", "w": "float[n]"},
        "outputs": {"y": "float[n]", "a": "float[n]", "w": "float[n]"},
        "parts": [part(folder, "0.onnx", FIRST), part(folder, "1.onnx", SECOND)],
        "colour": "what is not known is no harm",
    }


def write(folder: Path, manifest: object) -> Path:
    (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    return folder / "manifest.json"


@pytest.mark.parametrize("opening", [open_file, open_file_isolated])
def test_parts_run_in_order(tmp_path, opening):
    path = write(tmp_path, plain(tmp_path))
    assert is_hybrid(tmp_path)
    with opening("hybrid", RUNTIME, path, RunOptions(threads=1)) as runner:
        assert ["x: float[n]", "w: float[n]"] == [str(spec) for spec in runner.inputs]
        found = runner.run({"x": X, "w": W})
        assert ["y", "a", "w"] == list(found)
        np.testing.assert_allclose(found["y"], (np.exp(X) - X) * W, rtol=1e-6)
        np.testing.assert_array_equal(found["a"], -X)
        with pytest.raises(ExecutionError, match="input 'w' is missing"):
            runner.run({"x": X})
        with pytest.raises(ExecutionError, match=r"part 0 of 2 \(onnxruntime\): "):
            runner.run({"x": X[None], "w": W})


def changed(*path: Any, value: Any) -> Any:
    """An edit of a manifest."""

    def edit(manifest: dict[str, Any]) -> None:
        place: Any = manifest
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return edit


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (changed("kind", value="something"), "is of kind 'something', expected 'graphopt-hybrid'"),
        (changed("format", value=2), "has form 2, expected 1"),
        (changed("parts", value={}), "is not understood: Expected `array`, got `object`"),
        (changed("parts", 0, "file", value="../0.onnx"), "has the file '../0.onnx', expected a name in the folder"),
        (changed("parts", 0, "files", value={"0.onnx": "", "/etc/passwd": ""}), "has the file '/etc/passwd', expected"),
        (changed("parts", 0, "file", value="C:evil"), "has the file 'C:evil', expected"),
        (changed("parts", 0, "file", value=".."), "has the file '..', expected"),
        (changed("parts", 0, "file", value=""), "has the file '', expected"),
        (changed("parts", 0, "file", value="1.onnx"), "part 0 states no digest of '1.onnx'"),
        (changed("parts", 0, "files", "0.onnx", value="00"), "is not the file that the manifest names: its digest"),
        (changed("parts", 0, "files", "none.onnx", value="00"), "can't be read: No such file"),
        (changed("parts", 0, "inputs", value=["z"]), "part 0 reads 'z', which nothing before gives"),
        (changed("parts", 1, "outputs", value=["a"]), "part 1 gives 'a', which is there before"),
        (changed("outputs", value={"q": "float[n]"}), "the model gives 'q', which nothing before gives"),
        (changed("outputs", value={"y": "floaty[n]"}), "unknown element type 'floaty'"),
        (changed("outputs", value={"y": "float[n] trailing"}), "the type 'float[n] trailing' of 'y' in the manifest"),
        (changed("parts", 0, "backend", value="other"), "has parts for backend 'other', which nothing here runs"),
        (changed("parts", 1, "outputs", value=["z"]), "the model gives 'y', which nothing before gives"),
    ],
)
def test_manifests_that_make_no_sense(tmp_path, edit, reason):
    manifest = plain(tmp_path)
    edit(manifest)
    with pytest.raises(ExecutionError) as caught:
        RUNTIME.open(write(tmp_path, manifest), RunOptions())
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_part_that_does_not_give_what_it_should(tmp_path):
    manifest = plain(tmp_path)
    manifest["parts"][0]["outputs"] = ["a", "b", "c"]
    with RUNTIME.open(write(tmp_path, manifest), RunOptions()) as runner:
        runner.run({"x": X, "w": W})  # nothing reads it
    manifest["parts"][1]["inputs"] = ["a", "c", "w"]
    with (
        RUNTIME.open(write(tmp_path, manifest), RunOptions()) as runner,
        pytest.raises(ExecutionError, match=r"part 0 of 2 .* gave no 'c'"),
    ):
        runner.run({"x": X, "w": W})


def test_a_file_that_is_a_link(tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    path = write(folder, plain(folder))
    os.rename(folder / "0.onnx", tmp_path / "0.onnx")
    os.symlink(tmp_path / "0.onnx", folder / "0.onnx")
    with pytest.raises(ExecutionError, match=r"0.onnx' is no regular file"):
        RUNTIME.open(path, RunOptions())


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"kind": 1}', "[" * 100_000])
def test_manifests_that_are_none(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ExecutionError, match="is not understood") as caught:
        read_manifest(tmp_path)
    assert "\n" not in str(caught.value)


class Away:
    suffix = ".away"
    numerics = Exact()
    answer: object = "there is no device"

    def available(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def open(self, path, options):
        raise AssertionError("it does not run here")


def test_a_part_that_does_not_run_here(tmp_path):
    manifest = plain(tmp_path)
    manifest["parts"][1]["backend"] = "away"
    with pytest.raises(
        ExecutionError, match="has parts for backend 'away', which does not run here: there is no device"
    ):
        HybridRuntime({"onnxruntime": ORT, "away": Away()}).open(write(tmp_path, manifest), RunOptions())


def test_what_runtimes_say_of_themselves():
    away = Away()
    assert "there is no device" == why_unavailable("away", away)
    away.answer = None
    assert why_unavailable("away", away) is None
    away.answer = 3
    with pytest.raises(PluginError, match="available gave a int, expected str or None"):
        why_unavailable("away", away)
    away.answer = KeyError("x")
    with pytest.raises(PluginError, match="available failed: KeyError: 'x'"):
        why_unavailable("away", away)
    missing = Lazy("none:none", requires=("no_such_module",), install="pip install it")
    assert "no_such_module is not installed; pip install it" == why_unavailable("away", missing)


def test_types_of_all_kinds():
    types = {"a": "float[batch, 3]", "b": "seq(int64[?])", "c": "?", "d": "bool[]", "e": "double[*]"}
    assert types == {spec.name: type_text(spec.type) for spec in specs_of(types)}
    with pytest.raises(ExecutionError, match="is too deep"):
        specs_of({"a": "seq(" * 100_000})
