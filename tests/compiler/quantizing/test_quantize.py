"""``graphopt.quantize``: forms, budgets, choices by made-up times, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import graphopt
from graphopt.compiler.quantizing import assembling, candidates, search
from graphopt.compiler.quantizing.quantizer import find_prospects
from graphopt.data import digits_model, digits_test
from graphopt.errors import CalibrationError, PipelineError, QuantizationError
from graphopt.ir import DType, GraphBuilder
from graphopt.passes import CalibrationTable
from graphopt.runtime.paired import PairedTimes

IMAGES, DIGITS = digits_test()
DATA = {"image": IMAGES}
QUICK: dict[str, Any] = {"seconds": 0.2, "accuracy": "none"}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Nothing is measured and no layers are compared, unless a test is about that: each starts processes."""
    timed({}, monkeypatch)
    monkeypatch.setattr(assembling, "_errors", lambda *_: {})


def kinds(result) -> set[str]:
    return {node.op for node in result.model.graph.nodes}


def timed(speeds, monkeypatch):
    """Made-up times: a model is as many times as fast as the first number whose operator is in it says."""

    def measured(first, second, feeds, *, seconds, threads, drop):
        ops = {node.op_type for node in onnx.load(second).graph.node}
        speed = next((factor for op, factor in speeds.items() if op in ops), 1.0)
        return [PairedTimes((1e-3,) * 12, (1e-3 / speed,) * 12, dropped=speed < 0.9) for _ in feeds]

    monkeypatch.setattr(candidates, "times_of", measured)
    monkeypatch.setattr(search, "layer_times", lambda *_, **__: {})


def test_static_is_accurate_and_small():
    result = graphopt.quantize(digits_model(), DATA, form="static", labels=DIGITS, **QUICK)
    report = result.report
    assert ("static 4", True, "") == (report.kept, report.is_quantized, report.budget)
    assert {"QuantizeLinear", "DequantizeLinear"} < kinds(result)
    assert report.metric_after["sqnr"] > 30
    assert abs(report.metric_after["top1"] - report.metric_before["top1"]) < 2
    assert report.size_after < report.size_before / 2.5
    assert report.verdict is not None
    assert report.verdict.ok
    assert 88 == report.examples
    for layer in report.layers:
        assert "static" == layer.form
        assert layer.parameters is not None
        assert layer.parameters.low <= 0 <= layer.parameters.high
        assert layer.spread is not None
        assert sum(layer.spread.counts) > 0
    assert 99 < graphopt.evaluate(result, DATA, labels=DIGITS).values["top1"]


def test_layers_are_compared_and_models_measured(monkeypatch):
    monkeypatch.undo()
    report = graphopt.quantize(digits_model(), DATA, form="static", **QUICK).report
    assert all(layer.error_db is not None and layer.error_db > 20 for layer in report.layers)
    assert report.speedup is not None
    assert len(report.latency_before) == len(report.latency_after) == 2


@pytest.mark.parametrize(
    ("form", "op"),
    [
        ("dynamic", "MatMulInteger"),
        ("qoperator", "QLinearConv"),
        ("weights", "DequantizeLinear"),
        ("stored", "Cast"),
        ("float16", "Cast"),
    ],
)
def test_other_forms(form, op):
    registry = graphopt.compiler.Environment().plugins.passes
    if form == "float16" and "convert-to-float16" not in registry:
        pytest.skip("no pass for it")
    result = graphopt.quantize(digits_model(), DATA, form=form, **QUICK)
    found = kinds(result)
    assert op in found or "com.microsoft::MatMulNBits" in found
    assert result.report.metric_after["sqnr"] > 20


def test_the_result_is_the_same_each_time():
    first, second = (graphopt.quantize(digits_model(), DATA, form="static", **QUICK) for _ in range(2))
    assert first.proto.SerializeToString() == second.proto.SerializeToString()


def test_forms_without_data():
    result = graphopt.quantize(digits_model(), form="dynamic", **QUICK)
    assert result.report.is_quantized
    assert any("no data" in note for note in result.report.notes)


def test_a_budget_keeps_the_worst_layers_in_floats():
    result = graphopt.quantize(digits_model(), DATA, form="static", min_sqnr=43.6, **QUICK)
    report = result.report
    assert report.metric_after["sqnr"] >= 43.6
    left = [layer for layer in report.layers if layer.form == "float"]
    assert 1 <= len(left) < 4
    assert all("needed for accuracy" == layer.why for layer in left)
    assert all(layer.alone_db is not None for layer in report.layers)
    floats = [point.floats for point in report.curve]
    assert floats == sorted(floats)
    assert [0, 4] == [floats[0], floats[-1]]
    assert 1 == sum(point.kept for point in report.curve)
    sizes = [point.size for point in report.curve]
    assert sizes[0] < sizes[-1]
    assert "sqnr at least 43.60 dB" == report.budget


def test_a_budget_of_points():
    result = graphopt.quantize(
        digits_model(), DATA, form="static", labels=DIGITS, max_accuracy_drop="0.5%", metric="top1", **QUICK
    )
    assert result.report.metric_after["top1"] >= result.report.metric_before["top1"] - 0.5


def test_a_budget_that_can_not_be_met():
    with pytest.raises(
        QuantizationError, match=r"the budget can't be met: sqnr at least 150.00 dB is asked for, the best"
    ):
        graphopt.quantize(digits_model(), DATA, form="static", min_sqnr=150, **QUICK)


# -- the choice by speed ----------------------------------------------------------------------------------------------------------


def test_what_is_faster_is_kept(monkeypatch):
    timed({"QuantizeLinear": 2.0, "MatMulInteger": 1.2}, monkeypatch)
    report = graphopt.quantize(digits_model(), DATA, **QUICK).report
    assert "static 4" == report.kept
    assert pytest.approx(2.0) == report.speedup
    assert {"static": "kept", "dynamic": "faster"}.items() <= {
        item.name: item.outcome for item in report.candidates
    }.items()
    assert "sqnr at least 20.00 dB" == report.budget


def test_what_is_slower_is_not(monkeypatch):
    timed({"QuantizeLinear": 0.7, "MatMulInteger": 1.2}, monkeypatch)
    report = graphopt.quantize(digits_model(), DATA, **QUICK).report
    assert "dynamic 1, stored 2, float 1" == report.kept


def test_what_is_no_faster_is_smaller(monkeypatch):
    timed({"QuantizeLinear": 0.7, "MatMulInteger": 0.8}, monkeypatch)
    result = graphopt.quantize(digits_model(), DATA, **QUICK)
    report = result.report
    assert ("stored 3, float 1", True) == (report.kept, report.is_quantized)
    assert [
        (
            "weights are stored as integers, and the model computes on floats as before: "
            "nothing that was tried is faster than floats on this machine"
        )
    ] == report.notes
    assert report.size_after < report.size_before / 2.2
    assert report.metric_after["sqnr"] > 40
    assert {"Cast", "Mul"} < kinds(result)
    assert not {"QuantizeLinear", "DequantizeLinear", "MatMulInteger"} & kinds(result)
    forms = {layer.name: layer.form for layer in report.layers}
    assert ["float"] == [forms[layer.name] for layer in report.layers if "stored" not in forms[layer.name]], "too small"


def test_nothing_pays(monkeypatch):
    timed({"QuantizeLinear": 0.7, "MatMulInteger": 0.8, "Cast": 0.8}, monkeypatch)
    result = graphopt.quantize(digits_model(), DATA, **QUICK)
    assert ("float", False) == (result.report.kept, result.report.is_quantized)
    assert result.report.notes == [
        "the model stays in floats: nothing that was tried is faster than floats on this machine"
    ]
    assert "BatchNormalization" not in kinds(result)
    assert "QuantizeLinear" not in kinds(result)


def test_what_is_faster_is_repaired(monkeypatch):
    timed({"QuantizeLinear": 2.0}, monkeypatch)
    report = graphopt.quantize(digits_model(), DATA, min_sqnr=43.6, **QUICK).report
    assert report.metric_after["sqnr"] >= 43.6
    assert "static 2, stored 2" == report.kept
    assert ["needed for accuracy"] * 2 == [
        layer.why.rpartition(": ")[2] for layer in report.layers if layer.form == "stored"
    ]
    outcomes = {item.name: item.outcome for item in report.candidates}
    assert "not accurate enough" == outcomes["static"]
    assert "kept" in outcomes.values()


def test_no_form_that_is_faster_is_accurate_enough(monkeypatch):
    timed({"QuantizeLinear": 2.0}, monkeypatch)
    with pytest.raises(QuantizationError, match="the budget can't be met"):
        graphopt.quantize(digits_model(), DATA, min_sqnr=150, **QUICK)


# -- which layers -----------------------------------------------------------------------------------------------------------------


def test_excluded_layers_stay():
    report = graphopt.quantize(digits_model(), DATA, form="static", exclude=["op:Gemm", "*conv1*"], **QUICK).report
    forms = {layer.name: (layer.form, layer.why) for layer in report.layers}
    assert ("float", "excluded") == forms["/conv1/Conv"] == forms["/fc/MatMul"]
    assert "static" == forms["/conv2/Conv"][0]
    with pytest.raises(QuantizationError, match="exclude '/conv9/Conv' fits no layer; did you mean"):
        graphopt.quantize(digits_model(), DATA, form="static", exclude=["/conv9/Conv"], **QUICK)
    with pytest.raises(QuantizationError, match="every layer is left out"):
        graphopt.quantize(digits_model(), DATA, form="static", exclude=["*"], **QUICK)


def test_tables_of_embeddings_are_stored_by_rows():
    rng = np.random.default_rng(0)
    b = GraphBuilder()
    ids = b.input("ids", DType.INT64, ["n", 6])
    found = b.Gather(rng.normal(size=(2048, 32)).astype(np.float32), ids, name="embed")
    y = b.MatMul(found, rng.normal(size=(32, 64)).astype(np.float32), name="head")
    b.output(y, "y", DType.FLOAT, ["n", 6, 64])
    data = {"ids": rng.integers(0, 2048, (32, 6))}
    result = graphopt.quantize(b.build(), data, form="dynamic", **QUICK)
    assert {"embed": "stored", "head": "dynamic"} == {layer.name: layer.form for layer in result.report.layers}
    assert result.report.size_after < result.report.size_before / 2.5
    assert result.report.metric_after["sqnr"] > 30


# -- tables -----------------------------------------------------------------------------------------------------------------------


def test_a_table_in_the_place_of_data(tmp_path):
    table = graphopt.calibrate(digits_model(), DATA["image"], prepare="quantize-prepare", calibrator="min-max")
    result = graphopt.quantize(digits_model(), form="static", table=table, **QUICK)
    assert "static 4" == result.report.kept
    path = table.save(tmp_path / "t.json")
    assert "static 4" == graphopt.quantize(digits_model(), form="static", table=path, **QUICK).report.kept


def test_a_table_of_another_model():
    table = graphopt.calibrate(digits_model(), DATA["image"][:8])
    other = CalibrationTable(table.calibrator, {}, "0" * 64, 1, table.ranges, table.states)
    with pytest.raises(CalibrationError, match="the calibration table is of a model with fingerprint"):
        graphopt.quantize(digits_model(), form="static", table=other, **QUICK)


# -- what is refused --------------------------------------------------------------------------------------------------------------


def test_a_quantized_model_is_said_to_be_one():
    once = graphopt.quantize(digits_model(), DATA, form="static", **QUICK)
    with pytest.raises(
        QuantizationError, match=r"quantized already: it has DequantizeLinear, QuantizeLinear; .* --requantize"
    ):
        graphopt.quantize(once.proto, DATA, form="static", **QUICK)
    again = graphopt.quantize(once.proto, DATA, form="static", requantize=True, **QUICK).report
    assert "static 4" == again.kept
    assert again.metric_after["sqnr"] > 30


def test_a_model_without_layers():
    b = GraphBuilder()
    x = b.input("x", DType.FLOAT, ["n", 4])
    b.output(b.Relu(x), "y", DType.FLOAT, ["n", 4])
    with pytest.raises(
        QuantizationError, match="nothing to quantize in the model: no layer can become int8: there is no Conv"
    ):
        graphopt.quantize(b.build(), {"x": np.ones((8, 4), np.float32)}, **QUICK)


def test_a_target_without_integers():
    with pytest.raises(
        QuantizationError, match="target 'onnxruntime-cuda' has no integers; targets that have some: onnx"
    ):
        graphopt.quantize(digits_model(), DATA, target="onnxruntime-cuda", **QUICK)
    with pytest.raises(PipelineError, match="unknown target 'onnxruntim'"):
        graphopt.quantize(digits_model(), DATA, target="onnxruntim", **QUICK)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"image": IMAGES[:0]}, "empty"),
        ([], "no batch"),
        ({"picture": IMAGES, "image": IMAGES}, "picture"),
        ({"image": IMAGES[:, :, :7]}, "size 7 along axis 2, expected 8"),
        ([{"image": IMAGES[:4]}, {"image": IMAGES[:4].astype("U1")}], "batch 1: input 'image' has elements of <U1"),
        ([IMAGES[0], 7], "batch"),
        ({"image": np.full((4, 1, 8, 8), np.nan, np.float32)}, "input 'image' has NaN"),
        ({"image": np.full((4, 1, 8, 8), np.inf, np.float32)}, "input 'image' has infinity"),
        ("no/such/file.npz", "no such file"),
        (7, "data is a int"),
    ],
)
def test_bad_data(data, said):
    with pytest.raises(CalibrationError, match=said):
        graphopt.quantize(digits_model(), data, form="static", **QUICK)


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"form": "statc"}, QuantizationError, "unknown form 'statc'; did you mean 'static'"),
        (
            {"form": "static", "calibrator": "min-mox"},
            PipelineError,
            "unknown calibrator 'min-mox'; did you mean 'min-max'",
        ),
        (
            {"form": "static", "accuracy": "smoth"},
            QuantizationError,
            "unknown pass for accuracy 'smoth'; did you mean 'smooth'",
        ),
        ({"metric": "top9"}, CalibrationError, "unknown metric 'top9'"),
        ({"labels": [1, 2]}, CalibrationError, "there are 2 labels, and .* examples"),
        ({"max_accuracy_drop": "half"}, QuantizationError, "the accuracy drop 'half' is not understood"),
        ({"max_accuracy_drop": 1, "min_sqnr": 20}, QuantizationError, "both stated; state one of them"),
        ({"max_accuracy_drop": 1}, QuantizationError, "for metric 'sqnr', which has no value before"),
        ({"weight_dtype": "int3"}, QuantizationError, "weights can't be stored as 'int3'"),
        ({"seconds": 0}, QuantizationError, "the time to measure is 0 s"),
        ({"include": "conv1"}, TypeError, "include is 'conv1', expected a list of names"),
    ],
)
def test_bad_arguments(arguments, error, said):
    with pytest.raises(error, match=said):
        graphopt.quantize(digits_model(), DATA, **(QUICK | arguments))


def test_data_that_is_lacking():
    with pytest.raises(QuantizationError, match="form 'static' needs data to find ranges"):
        graphopt.quantize(digits_model(), form="static", **QUICK)
    with pytest.raises(CalibrationError, match="there are labels, and no data"):
        graphopt.quantize(digits_model(), form="dynamic", labels=[1], **QUICK)


def test_prospects():
    found = find_prospects(digits_model())
    assert 4 == len(found.layers)
    assert 0.9 < found.share <= 1
    assert "4 layers with 99% of the operations can become int8" in found.summary
    assert {"processor", "share", "summary"} <= found.to_dict().keys()
