"""Large and deep graphs: everything is linear and nothing recurses over nodes."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from graphopt.ir import (
    GraphBuilder,
    Model,
    clone_graph,
    clone_model,
    fingerprint,
    inline_graph,
    parse_model,
    print_model,
    replace_all_uses,
    structural_equal,
    structural_hash,
    verify,
)
from tests.ir.sample_models import chain, nested_ifs

LONG = 100_000
DEEP = 300


@pytest.fixture
def shallow_stack() -> Iterator[None]:
    """Little room for recursion, so that a level of it for each node or nested graph is found."""
    before = sys.getrecursionlimit()
    frame, depth = sys._getframe(), 0
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    sys.setrecursionlimit(depth + 120)
    yield
    sys.setrecursionlimit(before)


def check_everything(model: Model) -> None:
    verify(model)
    copy = clone_model(model)
    verify(copy)
    assert structural_equal(model, copy, names=True)
    assert structural_hash(model) == structural_hash(copy)
    assert fingerprint(model) == fingerprint(copy)
    assert structural_equal(clone_graph(model.graph)[0], model.graph)


def test_long_chain(shallow_stack):
    model = chain(LONG)
    check_everything(model)
    assert sum(1 for _ in model.graph.walk()) == LONG
    for node in reversed(model.graph.nodes):
        if not node.output.is_graph_output:
            replace_all_uses(node.output, model.graph.inputs[0])
            model.graph.erase(node)
    assert len(model.graph.nodes) == 1
    verify(model)


def test_text_of_a_long_chain(shallow_stack):
    model = chain(LONG // 10)
    text = print_model(model)
    assert structural_equal(parse_model(text), model, names=True)


def test_deep_nest(shallow_stack):
    model = nested_ifs(DEEP)
    check_everything(model)
    assert max(graph.depth for graph in model.graphs()) == DEEP
    text = print_model(model)
    again = parse_model(text)
    verify(again)
    assert print_model(again) == text
    node = next(node for node in model.graph.nodes if node.op == "If")
    mapping = inline_graph(node.subgraphs[0], node, {})
    replace_all_uses(node.output, mapping[node.subgraphs[0].outputs[0]])
    model.graph.erase(node)
    verify(model)
    assert model.graph.inputs[1].use_count == sum(
        list(node.inputs).count(model.graph.inputs[1]) for node in model.graph.walk()
    )


def test_value_with_many_users(shallow_stack):
    b = GraphBuilder()
    x, y = b.input("x"), b.input("y")
    for _ in range(LONG // 5):
        b.Relu(x)
    model = b.build()
    check_everything(model)
    for use in x.uses:
        use.node.replace_input(use.position, y)
    assert (x.use_count, y.use_count) == (0, LONG // 5)
    verify(model)


def test_many_nested_calls_of_functions(shallow_stack):
    b = GraphBuilder()
    for level in range(2_000):
        f = b.function("d", f"F{level}", ["a"])
        x = f.graph.inputs[0]
        f.output(f.op(f"d::F{level + 1}", x) if level < 1_999 else x)
    check_everything(b.build())
