"""Layers of engines: as the builder tells them, as the inspector does, with the nodes that went into each."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.backends.tensorrt.building import EngineOptions, build_with_layers
from graphopt.backends.tensorrt.engine_layers import EngineLayer, layers_from_json, layers_from_text
from tests.backends.tensorrt.library import needs_library, network_of

QUANTIZED = """<ir_version: 8, opset_import: ["": 17]>
quantized (float[1,8,12,12] x) => (float[1,8,8,8] y)
<float s = {0.05}, int8 z = {0}, float[8,8,3,3] w2>
{
  q = QuantizeLinear(x, s, z)
  d = DequantizeLinear(q, s, z)
  k = DequantizeLinear(w8, s, z)
  c = Conv(d, k)
  r = Relu(c)
  y = Conv(r, w2)
}"""


def quantized():
    rng = np.random.default_rng(0)
    model = onnx.parser.parse_model(QUANTIZED)
    for name, array in (
        ("w8", rng.integers(-90, 90, (8, 8, 3, 3)).astype(np.int8)),
        ("w2", rng.standard_normal((8, 8, 3, 3)).astype(np.float32)),
    ):
        for place, item in enumerate(list(model.graph.initializer)):
            if item.name == name:
                del model.graph.initializer[place]
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    del model.graph.value_info[:]
    for node in model.graph.node:
        node.name = f"/{node.output[0]}, Metadata: [\n\n]"  # a name may be anything
    return model


@needs_library
def test_the_builder_tells_which_layer_computes_in_what_and_came_from_which_nodes():
    made = build_with_layers(network_of(quantized()), EngineOptions(["86"])).layers
    convolutions = {
        place: layer
        for layer in made
        for place in "cy"
        if layer.nodes[:1] == (f"/{place}, Metadata: [\n\n]",) and layer.holds
    }
    first = next(layer for layer in made if "int8" in layer.reads)
    assert "int8" == first.precision
    assert "/c, Metadata: [\n\n]" in first.nodes
    assert "float32" == convolutions["y"].precision
    found = {name for layer in made for name in layer.nodes}
    assert {f"/{place}, Metadata: [\n\n]" for place in "qcry"} <= found


def told(layer, separator):
    def listed(dtypes):
        return ", ".join(f"{{ Name: t, Dimensions: [1], Datatype: {name}, Format: (Linear) }}" for name in dtypes)

    sections = f"Inputs: [ {listed(layer[1])}], Constants: [ {listed(layer[2])}], Outputs: [ {listed(layer[3])}]"
    nodes = separator.join(json.dumps([name]) for name in layer[4])
    return f"Name: {layer[0]}, LayerType: gemm, {sections}, TacticName: t, StreamId: 0, Metadata: {nodes}"


TYPES = st.lists(st.sampled_from(["Float", "Half", "Int8"]), max_size=2, unique=True)
LAYERS = st.tuples(
    st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=9),
    TYPES,
    TYPES,
    TYPES,
    st.lists(st.text(max_size=9), max_size=3, unique=True),
)
NAMES = {"Float": "float32", "Half": "float16", "Int8": "int8"}


def known(names):
    return tuple(NAMES[item] for item in names)


@given(st.lists(LAYERS, max_size=3), st.sampled_from(["", "\x1e", ", "]))
def test_text_and_json_tell_the_same(layers, separator):
    text = "\n".join(["Layers:", *(told(layer, separator) for layer in layers), "", "I/O Tensors:", " Name: x"])
    document = [
        {
            "Name": name,
            "LayerType": "gemm",
            "Inputs": [{"Name": "t", "Datatype": item} for item in reads],
            "Constants": [{"Name": "t", "Format/Datatype": item} for item in holds],
            "Outputs": [{"Name": "t", "Datatype": item} for item in gives],
            "Metadata": separator.join(json.dumps([node]) for node in nodes),
        }
        for name, reads, holds, gives, nodes in layers
    ]
    wanted = tuple(
        EngineLayer(name, "gemm", known(reads), known(holds), known(gives), tuple(nodes))
        for name, reads, holds, gives, nodes in layers
    )
    assert wanted == layers_from_text(text)
    assert wanted == layers_from_json(json.dumps({"Layers": document, "Bindings": []}))


def test_an_engine_without_details_tells_names_only():
    assert (EngineLayer("a + b", ""),) == layers_from_json('{"Layers": ["a + b"]}')
    assert () == layers_from_text("Layers:\nsomething else\n")
    assert () == layers_from_text("")
    with pytest.raises(ValueError, match="there are no layers in it"):
        layers_from_json("[]")


@pytest.mark.parametrize(
    ("reads", "holds", "gives", "precision"),
    [
        (("int8",), ("int8",), ("float32",), "int8"),
        (("float16",), ("int4", "float16"), ("float16",), "float16, weights int4"),
        (("float32",), ("int8",), ("int8",), "float32"),
        (("float32",), (), ("int8",), "float32"),
        ((), (), (), ""),
    ],
)
def test_precision(reads, holds, gives, precision):
    assert precision == EngineLayer("x", "gemm", reads, holds, gives).precision
