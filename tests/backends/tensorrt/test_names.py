"""Names: layers have different ones whatever nodes are called, and inputs and outputs keep theirs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphopt.backends.tensorrt.building import EngineOptions, build_with_layers
from tests.backends.tensorrt.library import close, expected, needs_library, network_of, outputs_of

pytestmark = needs_library

HEAD = '<ir_version: 8, opset_import: ["": 17]> '
TEXTS = {
    "equal names": HEAD + "g (float[2,3] x) => (float[2,3] y) { a = Relu(x) b = Neg(a) y = Exp(b) }",
    "an output that is an input": HEAD
    + "g (float[2,3] x) => (float[2,3] y, float[2,3] z) { y = Identity(x) z = Relu(x) }",
    "two outputs of one value": HEAD
    + "g (float[2,3] x) => (float[2,3] y, float[2,3] z) { y = Relu(x) z = Identity(y) }",
    "an output that is a constant": HEAD
    + "g (float[2,3] x) => (float[2] y, float[2,3] z) { y = Constant <value = float[2] {1, 2}> () z = Relu(x) }",
}


def names(built):
    return [built.network.get_layer(place).name for place in range(built.network.num_layers)]


@pytest.mark.parametrize("what", TEXTS)
@pytest.mark.parametrize("name", ["", "same", "constant 1", "x", "(Unnamed Layer* 0) [Unary]", "a\nb é"])
def test_layers_have_names_of_their_own(what, name):
    model = onnx.parser.parse_model(TEXTS[what])
    feeds = {"x": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)}
    wanted = expected(model, feeds)
    for node in model.graph.node:
        node.name = name
    built = network_of(model)
    assert len(set(names(built))) == built.network.num_layers
    found = outputs_of(built, feeds)
    assert list(wanted) == list(found)
    assert all(close(found[key], wanted[key]) for key in wanted)
    assert len(build_with_layers(built, EngineOptions(["86"])).data) > 1000


def test_inputs_that_are_called_like_what_layers_give():
    text = HEAD + "g (float[2,3] y_output, float[2,3] y) => (float[2,3] z) { a = Relu(y_output) z = Add(a, y) }"
    model = onnx.parser.parse_model(text)
    model.graph.node[0].name = "y"
    built = network_of(model)
    feeds = {"y_output": np.full((2, 3), -2, np.float32), "y": np.ones((2, 3), np.float32)}
    assert close(outputs_of(built, feeds)["z"], np.ones((2, 3)))
    assert len(build_with_layers(built, EngineOptions(["86"])).data) > 1000
