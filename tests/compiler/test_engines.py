"""Engines from models: precisions, zeros that are skipped, sizes from data, manifests, and engines that are looked into."""

from __future__ import annotations

import functools
import hashlib
import json
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

import graphopt
from graphopt.backends.tensorrt.building import EngineOptions
from graphopt.backends.tensorrt.profiles import InputRange, Profile
from graphopt.compiler.engines.building import build
from graphopt.compiler.engines.inspection import inspect_engine
from graphopt.compiler.engines.precision import refuse_left_out
from graphopt.compiler.quantizing import quantizer
from graphopt.compiler.result import OptimizeReport
from graphopt.compiler.sparse_weights import sparse_layers
from graphopt.data import digits_model, digits_test
from graphopt.errors import CalibrationError, ExecutionError, PipelineError, VerificationError
from tests.backends.tensorrt.library import needs_library

SIZES = EngineOptions(["86"], sizes={"batch": (1, 4, 8)})


def precisions(engine):
    return {layer["precision"] for layer in engine.manifest["engine"]}


@needs_library
@pytest.mark.parametrize(("precision", "inside"), [("fp16", "float16"), ("bf16", "bfloat16"), ("fp32", "float32")])
def test_precisions_are_those_of_the_engine(precision, inside):
    made = build(digits_model(), precision=precision, options=SIZES)
    assert inside in precisions(made)
    assert made.report.verdict is not None
    assert "failed" != made.report.verdict.status
    assert (precision == "fp16") == ("float16" in precisions(made))


@pytest.mark.parametrize(("precision", "skipped"), [("fp16", "left out"), ("fp16", ""), ("fp32", "left out")])
def test_a_precision_that_the_check_does_not_pass_is_no_engine_of_another_precision(precision, skipped):
    report = OptimizeReport(source="", level="", target="", pipeline="")
    report.passes = [SimpleNamespace(name="convert-to-float16", skipped=skipped)]  # type: ignore[list-item]
    if precision == "fp16" and skipped:
        with pytest.raises(VerificationError, match="with precision fp16 the model does not compute what it did"):
            refuse_left_out(report, precision)
    else:
        refuse_left_out(report, precision)


@needs_library
def test_int8_is_made_of_data_and_the_report_says_which_layers_are(monkeypatch):
    quick = functools.partial(quantizer.quantize, accuracy="none", seconds=1)  # what helps accuracy takes its time
    monkeypatch.setattr(quantizer, "quantize", quick)
    images, _ = digits_test()
    made = build(digits_model(), precision="int8", data={"image": images[:24]}, options=SIZES)
    integer = [layer for layer in made.manifest["engine"] if layer["precision"] == "int8"]
    assert {"/conv2/Conv", "/conv3/Conv"} <= {name for layer in integer for name in layer["nodes"]}
    assert str(digits_model()) == made.manifest["source"]
    assert any(note.startswith("quantized to int8: sqnr ") for note in made.notes)


@needs_library
def test_zeros_of_2_of_4_weights_are_skipped_and_told():
    sparse = graphopt.optimize(digits_model(), pipeline="prune-n-m", check=False).model
    found = {node.lineage.names()[0] for node in sparse_layers(sparse.graph)}
    assert "/conv2/Conv" in found
    assert [] == sparse_layers(graphopt.optimize(digits_model(), level="O0", check=False).model.graph)
    made = build(sparse, level="O0", check=False, options=SIZES)
    assert found == set(made.manifest["sparse"])
    assert made.manifest["options"]["sparse"]
    dense = build(sparse, level="O0", check=False, options=SIZES, sparse=False)
    assert ([], False) == (dense.manifest["sparse"], dense.manifest["options"]["sparse"])


@pytest.mark.parametrize("zeros", [True, False])
def test_zeros_of_weights_that_are_dequantized(zeros):
    weights = np.full((8, 16, 1, 1), 3, np.int8)
    if zeros:
        weights[:, 1::2] = 0
    text = """<ir_version: 8, opset_import: ["": 17]> q (float[1,16,4,4] x) => (float[1,8,4,4] y)
    <float s = {0.5}, int8 z = {0}, int8[8,16,1,1] w> { d = DequantizeLinear(w, s, z) y = Conv(x, d) }"""
    model = onnx.parser.parse_model(text)
    del model.graph.value_info[:]
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    lifted = graphopt.compiler.environment.Environment().lift(model)
    assert zeros == bool(sparse_layers(lifted.graph))


@needs_library
def test_sizes_come_from_data(tmp_path):
    for place, count in enumerate((1, 3, 9)):
        np.savez(tmp_path / f"{place}.npz", image=np.zeros((count, 1, 8, 8), np.float32))
    made = build(digits_model(), check=False, options=EngineOptions(["86"]), profile_data=tmp_path)
    shapes = {"image": [[1, 1, 8, 8], [3, 1, 8, 8], [9, 1, 8, 8]]}
    assert [{"shapes": shapes}] == made.manifest["profiles"]
    made = build(digits_model(), check=False, options=SIZES, profile_data=tmp_path)
    assert [1, 4, 8] == [shape[0] for shape in made.manifest["profiles"][0]["shapes"]["image"]]
    stated = [Profile({"image": InputRange((1, 1, 8, 8), (1, 1, 8, 8), (1, 1, 8, 8))})]
    with pytest.raises(PipelineError, match="--profile and --profile-data both state shapes"):
        build(digits_model(), check=False, options=EngineOptions(profiles=stated), profile_data=tmp_path)


def test_data_and_precision_belong_together():
    with pytest.raises(CalibrationError, match=r"precision int8 needs examples to quantize with; bring some: --data"):
        build(digits_model(), precision="int8")
    with pytest.raises(PipelineError, match="data is for precision int8, and precision is fp16"):
        build(digits_model(), precision="fp16", data={})


@needs_library
def test_a_manifest_says_from_what_with_what_and_how(tmp_path):
    options = EngineOptions(
        ["86", "89"], sizes={"batch": (1, 4, 8)}, weight_streaming=True, memory={"WORKSPACE": 1 << 30}
    )
    made = build(digits_model(), check=False, options=options)
    files = made.save(tmp_path / "x.engine")
    told = json.loads(files[1].read_text())
    assert hashlib.sha256(digits_model().read_bytes()).hexdigest() == told["source_sha256"]
    assert hashlib.sha256(files[0].read_bytes()).hexdigest() == told["sha256"]
    stated = {"sparse": False, "level": None, "refittable": False, "version_compatible": False}
    assert stated == {name: told["options"][name] for name in stated}
    assert (True, {"WORKSPACE": 1 << 30}) == (told["options"]["weight_streaming"], told["options"]["memory"])
    assert (["86", "89"], graphopt.__version__) == (told["capabilities"], told["graphopt"])
    looked = inspect_engine(tmp_path / "x.engine")
    assert "the manifest" == looked.told_by
    assert told["engine"] == list(looked.layers)


@needs_library
def test_engines_that_are_not_whole_or_not_ours(tmp_path):
    made = build(digits_model(), check=False, options=SIZES)
    path, beside = made.save(tmp_path / "x.engine")
    path.write_bytes(bytes(made.data[:-100]))
    with pytest.raises(ExecutionError, match="is truncated"):
        inspect_engine(path)
    path.write_bytes(bytes(len(made.data)))
    with pytest.raises(ExecutionError, match="is not the engine of its manifest"):
        inspect_engine(path)
    path.write_bytes(bytes(made.data))
    beside.write_text(json.dumps({name: value for name, value in made.manifest.items() if name != "engine"}))
    assert inspect_engine(path).told_by.startswith(("nobody: ", "the engine inspector"))
    beside.write_text('{"format": "one"}')
    with pytest.raises(ExecutionError, match=r"the manifest .* is not understood"):
        inspect_engine(path)
    beside.unlink()
    path.write_bytes(b"no engine at all" * 20)
    with pytest.raises(
        ExecutionError, match="has no manifest that tells its layers, and can't be loaded here to be asked"
    ):
        inspect_engine(path)
