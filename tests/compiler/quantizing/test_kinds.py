"""``graphopt.quantize`` on models of many kinds: what is small enough stays accurate, and nothing fails."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphopt
from graphopt.compiler.quantizing import assembling, candidates, search
from graphopt.compiler.quantizing.quantizer import find_prospects
from graphopt.errors import QuantizationError
from graphopt.ir import DType, GraphBuilder, Model
from graphopt.runtime.paired import PairedTimes

QUICK: dict[str, Any] = {"seconds": 0.2, "accuracy": "none", "check": False}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Everything takes the same time, and no layers are compared."""
    monkeypatch.setattr(candidates, "times_of", lambda *_, **__: [PairedTimes((1e-3,) * 9, (1e-3,) * 9)])
    monkeypatch.setattr(search, "layer_times", lambda *_, **__: {})
    monkeypatch.setattr(assembling, "_errors", lambda *_: {})


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.asarray(np.random.default_rng(seed).normal(size=shape), np.float32)


def weight(*shape: int, seed: int = 0) -> np.ndarray:
    return np.asarray(normal(*shape, seed=seed) / np.sqrt(np.prod(shape[1:])), np.float32)


def recurrent(op: str) -> Model:
    """Two directions, over rows."""
    gates = (4 if op == "LSTM" else 3) * 16
    b = GraphBuilder(17)
    x = b.input("x", DType.FLOAT, [6, "n", 12])
    states = b.op(op, x, weight(2, gates, 12), weight(2, gates, 16, seed=1), hidden_size=16, direction="bidirectional")
    flat = b.Reshape(b.Transpose(states, perm=(2, 0, 1, 3)), np.array([0, -1]))
    b.output(b.Gemm(flat, weight(192, 10), normal(10), name="head"), "y", DType.FLOAT, ["n", 10])
    return b.build()


def squeezed() -> Model:
    """Depthwise convolution, squeeze and excitation."""
    b = GraphBuilder(17)
    x = b.input("x", DType.FLOAT, ["n", 8, 8, 8])
    wide = b.Relu(b.Conv(x, weight(96, 8, 1, 1), normal(96)))
    deep = b.Relu(b.Conv(wide, weight(96, 1, 3, 3), normal(96), group=96, pads=(1, 1, 1, 1)))
    small = b.Relu(b.Conv(b.GlobalAveragePool(deep), weight(16, 96, 1, 1), normal(16)))
    gate = b.HardSigmoid(b.Conv(small, weight(96, 16, 1, 1), normal(96)))
    b.output(b.Conv(b.Mul(deep, gate), weight(8, 96, 1, 1)), "y", DType.FLOAT, ["n", 8, 8, 8])
    return b.build()


def detector() -> Model:
    """Two outputs of other sizes."""
    b = GraphBuilder(17)
    x = b.input("x", DType.FLOAT, ["n", 4, 8, 8])
    h = b.Relu(b.Conv(x, weight(24, 4, 3, 3), normal(24), pads=(1, 1, 1, 1)))
    scores = b.Sigmoid(b.Conv(h, weight(6, 24, 1, 1), name="scores"))
    boxes = b.Conv(b.Relu(b.Conv(h, weight(24, 24, 3, 3), strides=(2, 2))), weight(24, 24, 1, 1), name="boxes")
    b.output(scores, "s", DType.FLOAT, ["n", 6, 8, 8])
    b.output(boxes, "b", DType.FLOAT, ["n", 24, 3, 3])
    return b.build()


MODELS = {
    "lstm": (lambda: recurrent("LSTM"), (6, 32, 12)),
    "gru": (lambda: recurrent("GRU"), (6, 32, 12)),
    "squeezed": (squeezed, (32, 8, 8, 8)),
    "detector": (detector, (32, 4, 8, 8)),
}


def batches(shape: tuple[int, ...], name: str) -> list[dict[str, np.ndarray]]:
    """Of eight examples each; recurrent models have them along the second axis."""
    if name in ("lstm", "gru"):
        return [{"x": normal(6, 8, 12, seed=at)} for at in range(4)]
    return [{"x": normal(8, *shape[1:], seed=at)} for at in range(4)]


@pytest.mark.parametrize("name", MODELS)
def test_what_is_no_faster_takes_a_quarter_of_the_room(name):
    make, shape = MODELS[name]
    report = graphopt.quantize(make(), batches(shape, name), **QUICK).report
    assert "stored" in report.kept
    assert report.metric_after["sqnr"] > 30
    assert report.size_after < 0.75 * report.size_before
    ops = {layer.op for layer in report.layers if layer.form == "stored"}
    assert {"lstm": {"LSTM", "Gemm"}, "gru": {"GRU", "Gemm"}}.get(name, {"Conv"}) == ops


@pytest.mark.parametrize("name", ["squeezed", "detector"])
def test_static_forms_of_all_kinds(name):
    make, shape = MODELS[name]
    report = graphopt.quantize(make(), batches(shape, name), form="static", **QUICK).report
    assert report.kept.startswith("static")
    assert report.metric_after["sqnr"] > 20


def test_weights_that_are_stored_need_no_data():
    result = graphopt.quantize(recurrent("GRU"), form="stored", **QUICK)
    assert "stored 2" == result.report.kept
    assert not {"DequantizeLinear", "QuantizeLinear"} & {node.op for node in result.model.graph.nodes}
    assert result.report.size_after < result.report.size_before / 2


def test_of_a_model_that_only_stores_integers_that_is_said_before():
    b = GraphBuilder(17)
    x = b.input("x", DType.FLOAT, [6, "n", 12])
    b.output(b.op("GRU", x, weight(1, 48, 12), weight(1, 48, 16), hidden_size=16), "y", DType.FLOAT, [6, 1, "n", 16])
    found = find_prospects(b.build())
    assert (1, 0.0) == (len(found.layers), found.share)
    assert (
        "weights can be stored as int8, no layer computes on it (1): expect a smaller model, no faster" == found.summary
    )


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_weights_that_are_stored_are_known_as_such(dtype):
    stored = graphopt.optimize(detector(), pipeline=f"quantize-weights{{dtype={dtype},spelling=multiply}}").model
    data = batches((32, 4, 8, 8), "detector")
    with pytest.raises(
        QuantizationError, match=r"quantized already: it has Cast of weights stored as integers; .* --requantize"
    ):
        graphopt.quantize(stored, data, **QUICK)
    again = graphopt.quantize(stored, data, form="static", requantize=True, **QUICK).report
    assert "static 4" == again.kept
    assert again.metric_after["sqnr"] > 20


def halves() -> Model:
    b = GraphBuilder(17)
    x = b.input("x", DType.FLOAT16, ["n", 48])
    h = b.Relu(b.MatMul(x, weight(48, 64).astype(np.float16), name="first"))
    b.output(b.MatMul(h, weight(64, 32, seed=1).astype(np.float16), name="second"), "y", DType.FLOAT16, ["n", 32])
    return b.build()


@pytest.mark.parametrize("form", ["static", "dynamic", "auto"])
def test_models_of_halves_become_floats_first(form):
    data = {"x": normal(64, 48).astype(np.float16)}
    result = graphopt.quantize(halves(), data, form=form, **QUICK)
    assert (
        "the model computes on halves: it was made one of float32 first, for integers are made of these"
        in result.report.notes
    )
    assert result.report.is_quantized
    assert result.report.metric_after["sqnr"] > 25
    assert [DType.FLOAT16] * 2 == [value.dtype for value in (*result.model.graph.inputs, *result.model.graph.outputs)]


def test_activations_that_are_constant_are_stored():
    """A range of nothing but zero, and one of a single number."""
    b = GraphBuilder(17)
    x = b.input("x", DType.FLOAT, ["n", 32])
    zero = b.MatMul(b.Mul(x, np.float32(0)), weight(32, 32), name="zero")
    one = b.MatMul(b.Add(b.Mul(x, np.float32(0)), np.float32(3)), weight(32, 32, seed=1), name="one")
    b.output(zero, "y", DType.FLOAT, ["n", 32])
    b.output(one, "z", DType.FLOAT, ["n", 32])
    report = graphopt.quantize(b.build(), {"x": normal(32, 32)}, form="static", **QUICK).report
    assert "static 2" == report.kept
    steps = {layer.name: layer.parameters.scale for layer in report.layers if layer.parameters is not None}
    assert {"zero": 1.0, "one": pytest.approx(3 / 255)} == steps


def test_an_activation_that_is_not_finite_is_named():
    b = GraphBuilder(17)
    x = b.input("x", DType.FLOAT, ["n", 32])
    b.output(b.MatMul(b.Sqrt(x), weight(32, 32)), "y", DType.FLOAT, ["n", 32])
    with pytest.raises(QuantizationError, match=r"batch 0: tensor 'sqrt' has NaN \(.* of .* numbers\)"):
        graphopt.quantize(b.build(), {"x": normal(32, 32)}, form="static", **QUICK)
