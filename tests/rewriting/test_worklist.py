"""Rules that run again on a graph look only at what changed since, and find as much as if they looked at all of it."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

import pytest

from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.builtin_plugin import builtin_plugins
from graphopt.ir import DType, GraphBuilder, Node
from graphopt.passes import PassContext, PassManager, Pipeline
from graphopt.rewriting import Journal, NoMatch, Replacement, RewritePattern, Rewriter, RuleIndex, rewrite_graph
from graphopt.rewriting.worklist import EditLog, Worklist
from graphopt.serde import lift_model
from graphopt.testing.strategies.bulk import sampled_models


class Look(RewritePattern):
    """Never applies; remembers where it was tried."""

    name: ClassVar[str] = "look"
    roots: ClassVar[tuple[str, ...]] = ("Relu", "Neg", "Abs")

    def __init__(self, reach: int = 2) -> None:
        self.reach = reach  # type: ignore[misc]  # one of a kind
        self.seen: list[str] = []

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Remember the node."""
        self.seen.append(node.output.name)
        return NoMatch("looks only")


def chain(length: int = 4):
    """A chain of Relu nodes with outputs v0, v1, ..."""
    b = GraphBuilder(opset=17)
    value = b.input("x", DType.FLOAT, [2])
    for index in range(length):
        value = b.Relu(value)
        value.name = f"v{index}"
    b.output(b.Exp(value), "y")
    return b.build()


def look(model, rule, journal):
    """Where the rule was tried in one run."""
    rule.seen = []
    rewrite_graph(model.graph, RuleIndex([rule]), journal=journal)
    return rule.seen


def test_a_second_run_looks_at_nothing():
    model, rule, journal = chain(), Look(), Journal()
    assert ["v0", "v1", "v2", "v3"] == look(model, rule, journal)
    assert [] == look(model, rule, journal)
    journal.close()
    assert not model.listeners


@pytest.mark.parametrize(("reach", "expected"), [(1, ["v1"]), (2, ["v1", "v2"]), (9, ["v1", "v2", "v3"])])
def test_an_edit_is_followed_as_far_as_the_rule_reaches(reach, expected):
    model, rule, journal = chain(), Look(reach), Journal()
    look(model, rule, journal)
    nodes = list(model.graph.nodes)
    nodes[1].set_attribute("comment", None)
    assert expected == look(model, rule, journal)


def test_what_lost_a_reader_is_looked_at():
    model, rule, journal = chain(), Look(), Journal()
    look(model, rule, journal)
    last = list(model.graph.nodes)[-1]
    last.replace_input(0, list(model.graph.nodes)[1].output)
    assert ["v3"] == look(model, rule, journal)


def test_better_known_types_wake_readers():
    model, rule, journal = chain(), Look(1), Journal()
    look(model, rule, journal)
    value = list(model.graph.nodes)[1].output
    for listener in model.listeners:
        listener.value_learned(value)
    assert ["v1", "v2"] == look(model, rule, journal)


def test_another_opset_and_forgetting_make_all_new():
    model, rule, journal = chain(), Look(), Journal()
    look(model, rule, journal)
    model.opset_imports[""] = 18
    assert 4 == len(look(model, rule, journal))
    journal.forget()
    assert 4 == len(look(model, rule, journal))


def test_whoever_wants_reasons_hears_of_every_candidate():
    model, rule, journal = chain(), Look(), Journal()
    look(model, rule, journal)
    told: list[str] = []
    rewrite_graph(
        model.graph, RuleIndex([rule]), journal=journal, explain=lambda rule, node, reason: told.append(node.op)
    )
    assert 4 == len(told)
    assert 1 == len(model.listeners)


def test_a_value_that_many_read_is_followed_once():
    """Readers of a value that everybody reads are looked at, what is above them is not."""
    b = GraphBuilder(opset=17)
    shared = b.Relu(b.input("x", DType.FLOAT, [2]))
    for index in range(100):
        b.output(b.Abs(b.Neg(shared)), f"y{index}")
    model = b.build()
    log = EditLog()
    work = Worklist(model.graph, {"Relu": 9, "Neg": 9, "Abs": 9}, log)
    while work.pop() is not None:
        pass
    log.attributes_changed(next(iter(model.graph.nodes)))
    found = Counter(node.op for node in iter(work.pop, None))
    assert {"Relu": 1, "Neg": 100} == found


class _AllNew(Journal):
    """Keeps nothing."""

    def worklist(self, graph, rules, reach):
        self.forget()
        return super().worklist(graph, rules, reach)


def test_nothing_is_missed_on_generated_models(monkeypatch):
    """The exact rules in rounds leave the same operators whether each round looks at what changed or at all."""
    pipeline = Pipeline.from_text("exact,fuse,layout,exact", builtin_plugins(discover=False).passes)
    found: dict[bool, list[dict[str, int]]] = {}
    for everything in (False, True):
        if everything:
            monkeypatch.setattr("graphopt.passes.manager.Journal", _AllNew)
        found[everything] = []
        for generated in sampled_models(40, seed=3):
            model = lift_model(generated.proto)
            PassManager(pipeline).run(model, PassContext(types=OnnxTypes()))
            found[everything].append(dict(Counter(node.op for node in model.graph.walk())))
    assert found[True] == found[False]


def test_nodes_inside_of_one_that_is_gone_are_not_looked_at():
    """They are in a graph still, and read nothing."""
    b = GraphBuilder(opset=17)
    x = b.input("x", DType.FLOAT, [2])
    then = b.subgraph()
    then.output(then.Neg(x), "t")
    other = b.subgraph()
    other.output(other.Abs(x), "e")
    chosen = b.If(b.input("c", DType.BOOL, []), then_branch=then.graph, else_branch=other.graph)
    b.output(b.Relu(x), "y")
    model = b.build()
    work = Worklist(model.graph, {"Neg": 1, "Abs": 1, "Relu": 1}, EditLog())
    assert chosen.producer is not None
    model.graph.erase(chosen.producer)
    assert ["Relu"] == [node.op for node in iter(work.pop, None)]
