"""Regions of two runtimes: convex, in order, complete; their models give together what the whole gives."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.analysis.partitioning import partition
from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.compiler.cutting import Cut
from graphopt.ir import Array, DType, GraphBuilder
from graphopt.runtime.executor import OrtExecutor
from graphopt.serde.lift import lift_model


@st.composite
def graphs(draw):
    """A model of elementwise nodes that read from any before them."""
    b = GraphBuilder(opset=17)
    values = [b.input("x", DType.FLOAT, (3,)), b.input("y", DType.FLOAT, (3,))]
    for _ in range(draw(st.integers(1, 14))):
        a, c = (values[draw(st.integers(0, len(values) - 1))] for _ in range(2))
        values.append(b.Add(a, c) if draw(st.booleans()) else b.Sub(a, c))
    for value in values[2:]:
        if not value.is_used or draw(st.integers(0, 4)) == 0:
            b.output(value, value.name, DType.FLOAT, (3,))
    model = b.build()
    OnnxTypes().infer_model(model)
    return model


def label(model, chosen):
    """Whether the first runtime takes a node, by its place."""
    refused = {node for place, node in enumerate(model.graph.nodes) if place in chosen}
    return lambda node: "refused" if node in refused else None


@settings(max_examples=60)
@given(graphs(), st.sets(st.integers(0, 13)), st.integers(0, 3))
def test_regions_are_convex_complete_and_in_order(model, refused, few):
    found = partition(model.graph, label(model, refused), least_nodes=few, least_share=2.0)
    nodes = [node for region in found.regions for node in region.nodes]
    assert set(model.graph.nodes) == set(nodes)
    assert len(nodes) == len(set(nodes))
    home = {node: place for place, region in enumerate(found.regions) for node in region.nodes}
    for node in nodes:
        for value in node.inputs:
            if value is not None and value.producer is not None:
                assert home[value.producer] <= home[node]
    for region in found.regions:
        assert region.taken == all(node not in found.reasons for node in region.nodes)
    kinds = [region.taken for region in found.regions]
    assert all(a != b for a, b in itertools.pairwise(kinds)), "neighbours of one runtime are one region"


@settings(max_examples=25)
@given(graphs(), st.sets(st.integers(0, 13)), st.integers(0, 100))
def test_parts_give_together_what_the_whole_gives(model, refused, seed):
    rng = np.random.default_rng(seed)
    feeds = {name: rng.integers(-9, 9, 3).astype(np.float32) for name in ("x", "y")}
    executor = OrtExecutor()
    used = {value.name for value in model.graph.inputs}
    wanted = executor.run(model, {name: feeds[name] for name in used})
    known: dict[str, Array] = dict(feeds)
    parts = Cut(model, "tensorrt", partition(model.graph, label(model, refused))).parts()
    for part in parts:
        known |= executor.run(part, {value.name: known[value.name] for value in part.graph.inputs})
    for name, array in wanted.items():
        np.testing.assert_array_equal(known[name], array)


def test_as_few_regions_as_labels_allow():
    b = GraphBuilder(opset=17)
    x = b.input("x", DType.FLOAT, (2,))
    left, right = b.Relu(x), b.Neg(x)
    for _ in range(3):
        left, right = b.Relu(left), b.Neg(right)
    b.output(b.Add(left, right), "y", DType.FLOAT, (2,))
    model = b.build()
    found = partition(model.graph, lambda node: "no" if node.op == "Neg" else None)
    assert [False, True] == [region.taken for region in found.regions]
    assert 0 < found.share <= 1


BRANCHES = """<ir_version: 8, opset_import: ["": 17]>
branches (float[3] x, bool c) => (float[3] y)
{
  z = Neg (x)
  y = If (c) <then_branch = yes () => (float[3] a) { a = Exp (z) }, else_branch = no () => (float[3] b) { b = Sin (x) }>
}"""


def test_an_if_is_taken_if_all_that_is_inside_is():
    model = lift_model(onnx.parser.parse_model(BRANCHES))
    [whole] = partition(model.graph, lambda node: None).regions
    assert ("x", "c") == tuple(value.name for value in whole.inputs)
    found = partition(model.graph, lambda node: "no" if node.op == "Sin" else None, least_share=0)
    assert ["Neg", "If"] == [region.nodes[0].op for region in found.regions]
    assert ["z"] == [value.name for value in found.regions[0].outputs]
    assert {"inside of it: no"} == set(found.reasons.values())


def test_nodes_that_would_read_what_can_not_be_handed_are_not_taken():
    """The readers of such a value go, and their readers as long as what they give can't be handed either."""
    b = GraphBuilder(opset=17)
    x = b.input("x", DType.FLOAT, (2,))
    a = b.Neg(b.Relu(x))
    far = b.Tanh(b.Sin(b.Exp(a)))
    b.output(b.Add(far, b.Relu(x)), "y", DType.FLOAT, (2,))
    model = b.build()
    names = [node.outputs[0].name for node in model.graph.nodes]
    heavy = set(names[1:3])  # what Neg and Exp give
    found = partition(
        model.graph,
        lambda node: "no" if node.op == "Neg" else None,
        border=lambda value: "too heavy" if value.name in heavy else None,
        least_share=0,
    )
    assert {"Neg": "no", "Exp": "too heavy", "Sin": "too heavy"} == {
        node.op: reason for node, reason in found.reasons.items()
    }
    assert [True, False, True] == [region.taken for region in found.regions]
    assert not any(value.name in heavy for region in found.regions if region.taken for value in region.inputs)


@settings(max_examples=40)
@given(graphs(), st.sets(st.integers(0, 13)), st.sets(st.integers(0, 13)))
def test_no_region_is_handed_what_it_can_not_be(model, refused, heavy):
    nodes = list(model.graph.nodes)
    bad = {nodes[place].outputs[0] for place in heavy if place < len(nodes)}
    found = partition(
        model.graph, label(model, refused), border=lambda value: "heavy" if value in bad else None, least_nodes=0
    )
    assert set(nodes) == {node for region in found.regions for node in region.nodes}
    for region in found.regions:
        assert not (region.taken and bad & set(region.inputs))


def test_outputs_that_no_node_makes_have_a_region():
    text = """<ir_version: 8, opset_import: ["": 17]>
    loose (float[2] x) => (float[2] y, float[2] x, float[2] k) <float[2] k = {1, 2}> { y = Neg (x) }"""
    model = lift_model(onnx.parser.parse_model(text))
    found = partition(model.graph, lambda node: None)
    assert [True, False] == [region.taken for region in found.regions]
    loose = found.regions[1]
    assert (["x"], ["x", "k"]) == ([item.name for item in loose.inputs], [item.name for item in loose.outputs])
    assert 1.0 == found.share
    both = partition(model.graph, lambda node: "no")
    assert [["y", "x", "k"]] == [[item.name for item in region.outputs] for region in both.regions]


def test_a_region_that_copies_much_for_little_work_is_given_up():
    """Eight large additions between a product and a node that is not taken are not worth the way, the product is."""
    b = GraphBuilder(opset=17)
    x = b.input("x", DType.FLOAT, (2000, 2000))
    w = b.input("w", DType.FLOAT, (2000, 2000))
    value = b.Det(b.MatMul(x, w))
    other = b.Det(b.Add(x, value))
    for _ in range(4):
        other = b.Add(other, other)
    b.output(b.Add(x, b.Det(b.Add(w, other))), "y", DType.FLOAT, (2000, 2000))
    model = b.build()
    OnnxTypes().infer_model(model)
    found = partition(model.graph, lambda node: "no" if node.op == "Det" else None)
    assert ["MatMul"] == [node.op for region in found.regions if region.taken for node in region.nodes]
    kept = partition(model.graph, lambda node: "no" if node.op == "Det" else None, least_share=0)
    assert not any("too little work" in reason for reason in kept.reasons.values())
