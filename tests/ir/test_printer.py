"""The text form: what it looks like, and that it parses back to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.errors import ModelError
from graphopt.ir import (
    Attribute,
    AttributeKind,
    Constant,
    DType,
    GraphBuilder,
    Lineage,
    Node,
    SymbolicDim,
    TensorType,
    Value,
    constants_by_digest,
    parse_model,
    print_graph,
    print_model,
    structural_equal,
    verify,
)
from graphopt.ir.literals import elements_text, parse_elements
from tests.ir.sample_models import ODD_NAMES, chain, f32, nested_ifs, rich_model

GOLDEN = """\
graphopt-ir 1
model [ir_version=10, opset={"": 17, "my": 1}, producer_name="test"]

function my::F [opset={"": 17}, attributes=["alpha"]] {beta=0.5}
graph F(%a) -> (%leakyrelu) {
  %leakyrelu = LeakyRelu(%a) {alpha=ref(alpha, FLOAT)}
}

graph main(%x: float[n, 3], %c: bool[]) -> (%result) {
  const %const = float[2]{0.1, -0.0}
  %if = If(%c) {
    then_branch=graph then() -> (%add) {
      %add = Add(%x, %const) @add
    },
    else_branch=graph else() -> (%f) {
      %f = my::F(%x) {alpha=1.0}
    },
  }
  %"odd name": ~float[n, (n+1)//2], _ = com.microsoft::Thing(%if, _, %x) {axes=[0, 1], mode="a"} [lineage=["a", "b"]]
  %result: float[n, 3] = Relu(%"odd name")
}
"""


def golden_model():
    b = GraphBuilder(name="main")
    n = SymbolicDim("n")
    x, c = b.input("x", DType.FLOAT, [n, 3]), b.input("c", DType.BOOL, [])
    f = b.function("my", "F", ["a"], attributes=["alpha"], defaults={"beta": Attribute(AttributeKind.FLOAT, 0.5)})
    f.output(f.LeakyRelu(f.graph.inputs[0], alpha=f.reference("alpha", AttributeKind.FLOAT)))
    then, other = b.subgraph("then"), b.subgraph("else")
    constant = b.constant(f32([0.1, -0.0]))
    then.output(then.Add(x, constant, name="add"))
    other.output(other.op("my::F", x, alpha=1.0))
    y = b.If(c, then_branch=then, else_branch=other)
    b.model.opset_imports.pop("com.microsoft", None)
    node = b.graph.append(Node("com.microsoft::Thing", [y, None, x], [Value("odd name"), Value("")]))
    node.set_attribute("axes", [0, 1])
    node.set_attribute("mode", "a")
    node.lineage = Lineage(("a", "b"))
    node.output.type = TensorType(DType.FLOAT, (n, (n - 1) // 2 + 1))
    b.output(b.Relu(node.output), "result", DType.FLOAT, ["n", 3])
    b.model.producer_name = "test"
    return b.build()


def test_text_of_a_small_model():
    assert print_model(golden_model()) == GOLDEN


def test_golden_text_parses_back():
    model = parse_model(GOLDEN)
    verify(model)
    assert print_model(model) == GOLDEN
    assert structural_equal(model, golden_model(), names=True)


@pytest.mark.parametrize("make", [rich_model, lambda: nested_ifs(5), lambda: chain(3)], ids=["rich", "nested", "chain"])
@pytest.mark.parametrize("small", [0, 1, 16, 10_000])
def test_model_comes_back_from_its_text(make, small):
    model = make()
    text = print_model(model, weights="inline", small=small)
    again = parse_model(text)
    verify(again)
    assert print_model(again, weights="inline", small=small) == text
    assert structural_equal(again, model, names=True)
    assert again.graph.fresh_name(model.graph.inputs[0].name) != model.graph.inputs[0].name


def test_elided_constants_come_back_from_a_mapping():
    model = rich_model()
    text = print_model(model)
    assert "base64" not in text
    again = parse_model(text, constants=constants_by_digest(model))
    assert structural_equal(again, model, names=True)
    with pytest.raises(ModelError, match="the bytes of this constant are elsewhere"):
        parse_model(text)


def test_omitted_constants_are_refused():
    text = print_model(rich_model(), weights="omit")
    assert "sha256" not in text
    with pytest.raises(ModelError, match="were left out; print the model with weights='inline'"):
        parse_model(text)


def test_wrong_constant_in_the_mapping_is_refused():
    model = rich_model()
    digests = constants_by_digest(model)
    wrong = dict.fromkeys(digests, Constant(np.zeros(40, np.int8)))
    with pytest.raises(ModelError, match="not what its digest"):
        parse_model(print_model(model), constants=wrong)


def test_each_node_without_subgraphs_is_a_line():
    model = rich_model()
    lines = print_graph(model.graph).splitlines()
    assert all(not line.rstrip().endswith("\\") for line in lines)
    for node in model.graph.nodes:
        if not node.subgraphs and node.outputs:
            starts = [line for line in lines if f" = {node.op_type}(" in line or f"::{node.op_type}(" in line]
            assert starts


@pytest.mark.parametrize("name", [*ODD_NAMES, "", "::", "a::", "%", "_", "a:b", "-", "x\u2028y"])
def test_names_are_exact(name):
    b = GraphBuilder()
    value = b.Relu(b.input("x"), name="n")
    node = value.producer
    assert node is not None
    node.name = name
    if name:
        value.name = name
    b.graph.name = name
    b.output(value)
    text = print_model(b.build())
    assert len(text.split("\n")) == 7
    assert len(text.splitlines()) == 6
    again = parse_model(text)
    assert again.graph.name == name
    assert next(iter(again.graph.nodes)).name == name
    assert again.graph.outputs[0].name == value.name


def test_models_of_a_pass_halfway_can_be_printed():
    b = GraphBuilder()
    node = b.graph.append(Node("Relu", [Value("ghost")]))
    b.graph.add_output(node.output)
    b.node("Op", node.output, domain="d", outputs=0)
    assert '%"" = Relu(%ghost)' in print_model(b.build())


def test_details_can_be_left_out():
    text = print_model(rich_model(), details=False)
    for word in ("doc", "metadata", "lineage"):
        assert f"{word}=" not in text
    assert "quant=" in text


@pytest.mark.parametrize("dtype", [d for d in DType if d not in (DType.UNDEFINED, DType.STRING)], ids=str)
def test_elements_are_exact_in_every_bit(dtype):
    random = np.random.default_rng(0)
    top = 2 if dtype is DType.BOOL else 1 << min(dtype.bits, 8)
    codes = random.integers(0, top, (300, dtype.numpy.itemsize)).astype(np.uint8)
    constant = Constant(codes.view(dtype.numpy).reshape(300))
    tokens = elements_text(constant)[1:-1].split(", ")
    again = Constant(parse_elements(tokens, dtype, (300,)))
    assert again.equals(constant)


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (f32([1, 0.1, -0.0, np.inf, -np.inf, np.nan, 1e-45, 3e38]), "{1.0, 0.1, -0.0, inf, -inf, nan, 1e-45, 3e+38}"),
        (np.array([0x7FC00001, 0xFFC00000], np.uint32).view(np.float32), "{0x7fc00001, 0xffc00000}"),
        (np.array([1 << 63, 0], np.uint64), "{9223372036854775808, 0}"),
        (np.array([True, False]), "{true, false}"),
        (np.array([1, 2.5], DType.BFLOAT16.numpy), "{1.0, 2.5}"),
        (np.array([-8, 7], DType.INT4.numpy), "{-8, 7}"),
        (np.array([6, -0.5], DType.FLOAT4E2M1.numpy), "{6.0, -0.5}"),
        (np.array(['a"b', b"\xff"], object), '{"a\\"b", b"\\xff"}'),
        (np.zeros(0), "{}"),
    ],
)
def test_elements_are_written_as_people_write_them(array, text):
    assert elements_text(Constant(array)) == text
