"""What each application touched."""

from __future__ import annotations

from graphopt.builtin_plugin import builtin_plugins
from graphopt.compiler import Environment
from graphopt.compiler.compilation import Compilation
from graphopt.passes import parse_pipeline
from graphopt.rewriting import Application, Applications, EditTrace
from tests.compiler import planting


def edits(pipeline: str, model, first: int = 1, limit: int | None = None) -> EditTrace:
    trace = EditTrace(first)
    environment = Environment(planting.plugins())
    work = Compilation(model, environment, parse_pipeline(pipeline, environment.plugins.passes), "onnx")
    work.trace = lambda: trace
    assert work.attempt(Applications(limit)).error is None
    return trace


def test_nodes_that_go_and_come_are_put_down_to_their_application():
    """With the names that they had in the file."""
    one, *others = edits("wrong-pattern", planting.chain()).edits
    assert (1, ["Neg", "Neg"], [], ("node_b", "node_a")) == (
        one.application.number,
        [node.op for node in one.removed],
        list(one.added),
        one.origins,
    )
    (other,) = others
    assert (["Exp 'node_f'"], ["Abs 'node_f'"], ("node_f",)) == (
        [str(node) for node in other.removed],
        [str(node) for node in other.added],
        other.origins,
    )


def test_a_node_that_is_changed_where_it_stands_is_neither_gone_nor_new():
    """The pass as a whole is the application."""
    (edit,) = edits("wrong-pass", planting.chain()).edits
    assert ([], [], ["Sin 'node_f'"]) == (list(edit.removed), list(edit.added), [str(node) for node in edit.changed])
    assert Application(1, "wrong-pass", "wrong-pass", "") == edit.application


def test_what_comes_before_the_first_one_is_forgotten():
    """A search looks at one of many."""
    assert [2] == [edit.application.number for edit in edits("wrong-pattern", planting.chain(), first=2).edits]
    assert [1] == [edit.application.number for edit in edits("wrong-pattern", planting.chain(), limit=1).edits]


def test_origins_go_through_several_rewrites():
    """A node that was made of others that were made of others knows the first ones."""
    model = planting.parse_model(planting.HEAD + "{ a = Exp(x) b = Sqrt(a) y = Relu(b) }")
    for node in model.graph.node:
        node.name = f"node_{node.output[0]}"
    trace = edits("wrong-pattern,wrong-pass,wrong-rule", model)
    assert [("node_a",), ("node_b",)] == [edit.origins for edit in trace.edits]


def test_all_passes_of_graphopt_say_where_their_edits_are():
    """But for those that look at functions and imports as a whole."""
    whole = {"remove-unused-functions", "remove-unused-opsets"}
    model = planting.parse_model(
        '<ir_version: 10, opset_import: ["": 17, "ai.onnx.ml": 3]> g (float[2] x) => (float[2] y) <float[2] w = {1,2}, float[2] v = {1,2}>'
        "{ dead = Exp(x) c = Constant<value = float[1] {2}>() a = Mul(x, c) b = Add(a, w) d = Add(b, v) e = Identity(d) y = Relu(e) }"
    )
    environment = Environment(builtin_plugins(discover=False))
    work = Compilation(model, environment, environment.pipeline(None, "O2"), "onnx")
    made = work.attempt(Applications())
    found = {application.pass_name: application.site for application in made.applications.log}
    assert {"constants-to-initializers", "eliminate-dead-code", "deduplicate-constants", "canonicalize"} <= set(found)
    assert all(site for name, site in found.items() if name not in whole)
