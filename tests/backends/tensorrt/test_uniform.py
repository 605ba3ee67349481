"""Large constants of one number are not held by an engine; what they are is not changed by that."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphopt.backends.tensorrt.building import EngineOptions, build_engine
from graphopt.backends.tensorrt.network import build_network
from graphopt.backends.tensorrt.registry import Registry, builtin_converters
from graphopt.compiler.environment import Environment
from tests.backends.tensorrt.library import API, close, expected, needs_library, network_of, outputs_of

pytestmark = needs_library

HEAD = '<ir_version: 8, opset_import: ["": 17]> '
TEXTS = {
    "a convolution": "g (float[1,64,5,5] x) => (float[1,64,5,5] y) <float[64,64,3,3] w> { y = Conv <pads = [1,1,1,1]> (x, w) }",
    "a convolution of one axis": "g (float[1,64,5] x) => (float[1,64,5] y) <float[64,64,3] w> { y = Conv <pads = [1,1]> (x, w) }",
    "groups": "g (float[1,64,5,5] x) => (float[1,64,3,3] y) <float[64,32,3,3] w> { y = Conv <group = 2> (x, w) }",
    "a product": "g (float[2,64] x) => (float[2,128] y) <float[64,128] w> { y = MatMul(x, w) }",
    "a transposed product": "g (float[2,64] x) => (float[2,128] y) <float[128,64] w> { y = Gemm <transB = 1> (x, w) }",
    "a sum": "g (float[64,128] x) => (float[64,128] y) <float[64,128] w> { y = Add(x, w) }",
    "a transposed convolution": "g (float[1,64,5,5] x) => (float[1,64,7,7] y) <float[64,64,3,3] w> { y = ConvTranspose(x, w) }",
}


def filled(what, number, dtype=np.float32):
    model = onnx.parser.parse_model(HEAD + TEXTS[what])
    shape = [dim.dim_value for dim in model.graph.value_info[0].type.tensor_type.shape.dim]
    del model.graph.value_info[:]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.full(shape, number, dtype), "w"))
    fed = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    return model, {"x": np.random.default_rng(0).standard_normal(fed).astype(np.float32)}


def kinds(built):
    return [built.network.get_layer(place).type.name for place in range(built.network.num_layers)]


@pytest.mark.parametrize("what", TEXTS)
@pytest.mark.parametrize("number", [0.01, -2.0])
def test_one_number_all_over_computes_what_it_did_and_is_not_held(what, number):
    model, feeds = filled(what, number)
    built = network_of(model)
    assert ("SLICE" in kinds(built)) == (what != "a transposed convolution")
    found, wanted = outputs_of(built, feeds)["y"], expected(model, feeds)["y"]
    assert close(found, wanted)
    build_engine(built, EngineOptions(["86"]))


def test_an_engine_is_smaller_by_what_it_does_not_hold():
    text = "g (float[1,256,5,5] x) => (float[1,256,3,3] y) <float[256,256,3,3] w> { y = Conv(x, w) }"
    sizes = []
    for weights in (np.full((256, 256, 3, 3), 0.5), np.random.default_rng(1).standard_normal((256, 256, 3, 3))):
        model = onnx.parser.parse_model(HEAD + text)
        del model.graph.value_info[:]
        model.graph.initializer.append(onnx.numpy_helper.from_array(weights.astype(np.float32), "w"))
        built = network_of(model)
        sizes.append(len(build_engine(built, EngineOptions(["86"]))))
    assert sizes[1] - sizes[0] > 256 * 256 * 9 * 4 * 0.9
    assert ["CONVOLUTION"] == kinds(built)


def test_fills_are_no_constants_and_compute_what_they_did():
    text = """g (float[1,64,5,5] x) => (float[1,64,3,3] y) <int64[4] s = {64, 64, 3, 3}>
    { w = ConstantOfShape <value = float[1] {0.25}> (s) y = Conv(x, w) }"""
    model = onnx.parser.parse_model(HEAD + text)
    built = network_of(model)
    assert ["CONSTANT", "SLICE", "CONVOLUTION"] == kinds(built)
    feeds = {"x": np.random.default_rng(0).standard_normal((1, 64, 5, 5)).astype(np.float32)}
    assert close(outputs_of(built, feeds)["y"], expected(model, feeds)["y"])


@pytest.mark.parametrize("change", ["one other", "another zero", "small"])
def test_numbers_that_differ_anywhere_are_held(change):
    model, feeds = filled("a sum", 0.0)
    array = onnx.numpy_helper.to_array(model.graph.initializer[0]).copy()
    if change == "small":
        text = "g (float[4,4] x) => (float[4,4] y) <float[4,4] w> { y = Add(x, w) }"
        model, array = onnx.parser.parse_model(HEAD + text), np.zeros((4, 4), np.float32)
        del model.graph.value_info[:]
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, "w"))
        feeds = {"x": np.ones((4, 4), np.float32)}
    array[-1, -1] = {"one other": 1.0, "another zero": -0.0, "small": 0.0}[change]
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(array, "w"))
    built = network_of(model)
    assert "SLICE" not in kinds(built)
    assert close(outputs_of(built, feeds)["y"], feeds["x"] + array)


def test_what_is_exchanged_later_is_held():
    model, _ = filled("a convolution", 0.5)
    environment = Environment()
    lifted = environment.legalized(environment.lift(model), "tensorrt")
    built = build_network(lifted, API, Registry(builtin_converters()), refittable=True)
    assert ["CONVOLUTION"] == kinds(built)
