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
    found = partition(model.graph, lambda node: "no" if node.op == "Sin" else None, least_nodes=0)
    assert ["Neg", "If"] == [region.nodes[0].op for region in found.regions]
    assert ["z"] == [value.name for value in found.regions[0].outputs]
    assert {"inside of it: no"} == set(found.reasons.values())
