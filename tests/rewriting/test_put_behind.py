"""New nodes that many read stand right behind what they read."""

from __future__ import annotations

import onnx.parser
import pytest

from graphopt.ir import Graph
from graphopt.rewriting import Rewriter
from graphopt.serde import lift_model


def graph_of(body: str) -> Graph:
    head = '<ir_version: 10, opset_import: ["" : 21]> main (float[2] x) => (float[2] y)'
    return lift_model(onnx.parser.parse_model(f"{head} {{ {body} }}")).graph


@pytest.mark.parametrize(("value", "place"), [("x", 0), ("a", 1), ("b", 2)])
def test_behind_inputs_and_outputs_of_nodes(value, place):
    graph = graph_of("a = Abs(x) b = Neg(a) y = Exp(b)")
    nodes = list(graph.nodes)
    known = {item.name: item for item in [*graph.inputs, *(output for node in nodes for output in node.outputs)]}
    rewriter = Rewriter()
    rewriter.start(nodes[-1])
    made = rewriter.new_node("Relu", [known[value]])
    rewriter.put_behind(known[value], made)
    assert [*nodes[:place], made, *nodes[place:]] == list(graph.nodes)


def test_one_behind_the_other():
    graph = graph_of("a = Abs(x) b = Neg(a) y = Exp(b)")
    nodes = list(graph.nodes)
    rewriter = Rewriter()
    rewriter.start(nodes[-1])
    first = rewriter.new_node("Relu", [graph.inputs[0]])
    second = rewriter.new_node("Sqrt", [first.output])
    rewriter.put_behind(graph.inputs[0], first)
    rewriter.put_behind(first.output, second)
    rewriter.put_behind(first.output, second)
    assert [first, second, *nodes] == list(graph.nodes)
