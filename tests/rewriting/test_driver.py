"""The worklist: everything that can apply does, in a fixed order, as often as it should, and no more."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.errors import PassError
from graphopt.ir import DType, GraphBuilder, Model, Node, Value, structural_hash, verify
from graphopt.ir.clone import clone_model
from graphopt.rewriting import (
    IN_PLACE,
    Applications,
    Match,
    NoMatch,
    RewritePattern,
    Rewriter,
    Rule,
    RuleIndex,
    any_,
    const,
    op,
    rewrite,
    rewrite_graph,
)
from tests.rewriting.graphs import apply, model, ones, ops, reasons


@rewrite(op.Neg(op.Neg(any_("x"))))
def double_neg(m: Match, rw: Rewriter):
    return m["x"]


@rewrite(op.Relu(op.Relu(any_("x"))))
def double_relu(m: Match, rw: Rewriter):
    return rw.new("Relu", m["x"])


@rewrite(op.Abs(op.Neg(any_("x"))))
def abs_of_neg(m: Match, rw: Rewriter):
    return rw.new("Abs", m["x"])


@rewrite(op.Identity(any_("x")))
def no_identity(m: Match, rw: Rewriter):
    return NoMatch("a graph output may need it") if m.root.output.is_graph_output else m["x"]


@rewrite(op.Add(op.Neg(any_("x")), any_("y"), commute=True))
def add_neg(m: Match, rw: Rewriter):
    return rw.new("Sub", m["y"], m["x"])


@rewrite(op.Relu(op.Abs(any_("x"), shared=True)))
def relu_of_abs(m: Match, rw: Rewriter):
    return rw.new("Abs", m["x"])


RULES: tuple[Rule, ...] = (double_neg, double_relu, abs_of_neg, no_identity, add_neg, relu_of_abs)


def chain(*names: str) -> Model:
    def build(b, x):
        for name in names:
            x = b.op(name, x)
        return x

    return model(build)


def test_what_a_rewrite_makes_possible_is_found():
    subject = chain("Neg", "Relu", "Relu", "Identity", "Abs", "Neg", "Neg", "Abs", "Relu")
    result = apply(subject, *RULES)
    assert result.changed
    assert ["Neg", "Relu", "Abs", "Abs"] == ops(subject)
    assert {"double-relu": 1, "no-identity": 1, "double-neg": 1, "relu-of-abs": 1} == result.applied


def test_a_chain_of_pairs_collapses():
    subject = chain(*["Neg"] * 1000, "Abs")
    assert {"double-neg": 500} == apply(subject, double_neg).applied
    assert ["Abs"] == ops(subject)


def test_losing_a_user_makes_a_match_possible():
    """The inner Neg has two users until the Identity chain of the second one is gone from the graph."""

    @rewrite(op.Mul(any_("x"), const("zero", equal_to=0)))
    def mul_zero(m, rw):
        return m["zero"]

    def build(b, x):
        inner = b.Neg(x)
        outer = b.Neg(inner)
        return b.Add(b.Abs(outer), b.Mul(inner, ones(2, 3) * 0))

    subject = model(build)
    assert not apply(clone_model(subject), double_neg).changed
    assert {"mul-zero": 1, "double-neg": 1} == apply(subject, double_neg, mul_zero).applied
    assert ["Abs", "Add"] == ops(subject)


def test_a_graph_output_that_moves_makes_a_match_possible():
    b = GraphBuilder(opset=17)
    x = b.input("x", DType.FLOAT, [2])
    inner = b.Neg(x)
    b.output(b.Identity(inner), "z")
    b.output(b.Abs(b.Neg(inner)), "y")
    subject = b.build()
    apply(subject, no_identity)
    verify(subject)
    assert ["z", "y"] == [value.name for value in subject.graph.outputs]
    assert not apply(subject, double_neg).changed


def test_of_several_rules_the_one_with_more_benefit_goes_first():
    log = []

    def rule(name, benefit):
        @rewrite(op.Abs(any_("x")), benefit=benefit, name=name)
        def found(m, rw):
            log.append(name)
            return NoMatch("seen")

        return found

    apply(chain("Abs"), rule("low", 1), rule("high", 5), rule("low-2", 1))
    assert ["high", "low", "low-2"] == log


def test_the_order_is_that_of_the_graph():
    log = []

    @rewrite(op["Abs", "Neg"](any_("x"), name="node"))
    def seen(m, rw):
        log.append(m.node("node").op)
        return NoMatch("seen")

    apply(chain("Abs", "Neg", "Abs", "Relu"), seen)
    assert ["Abs", "Neg", "Abs"] == log


def test_subgraphs_are_rewritten_too():
    def build(b, x):
        then, other = b.subgraph("then"), b.subgraph("else")
        then.output(then.Abs(then.Neg(then.Neg(x))), "t")
        other.output(other.Relu(other.Identity(x)), "e")
        return b.If(np.array(True), then_branch=then.graph, else_branch=other.graph)

    subject = model(build)
    assert {"double-neg": 1, "no-identity": 1} == apply(subject, *RULES).applied
    verify(subject)
    (node,) = subject.graph.nodes
    assert [["Abs"], ["Relu"]] == [ops(graph) for graph in node.subgraphs]
    assert ["t", "e"] == [graph.outputs[0].name for graph in node.subgraphs]


# -- numbering ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "left"), [(0, 6), (1, 4), (2, 2), (3, 0), (None, 0), (7, 0)])
def test_a_limit_stops_after_the_nth(limit, left):
    subject = chain(*["Neg"] * 6, "Abs")
    applications = Applications(limit)
    rewrite_graph(subject.graph, RuleIndex([double_neg]), applications=applications)
    assert left == len(ops(subject)) - 1
    assert (6 - left) // 2 == applications.count


def test_applications_are_the_same_on_every_run():
    logs = []
    for _ in range(2):
        applications = Applications()
        subject = chain("Neg", "Neg", "Relu", "Relu", "Identity", "Neg", "Neg", "Abs")
        rewrite_graph(subject.graph, RuleIndex(RULES), applications=applications)
        logs.append([str(item) for item in applications.log])
    assert logs[0] == logs[1]
    assert 4 == len(logs[0])


def test_one_site_can_be_left_out():
    subject = chain("Neg", "Neg", "Abs", "Neg", "Neg", "Relu")
    everything = Applications()
    rewrite_graph(clone_model(subject).graph, RuleIndex([double_neg]), applications=everything)
    assert 2 == everything.count
    for index, left in [(0, ["Neg", "Neg", "Abs", "Relu"]), (1, ["Abs", "Neg", "Neg", "Relu"])]:
        twin = clone_model(subject)
        skipped = everything.log[index]
        applications = Applications(skip=[(skipped.rule, skipped.site)])
        rewrite_graph(twin.graph, RuleIndex([double_neg]), applications=applications)
        assert left == ops(twin)
        assert [1] == [item.number for item in applications.log]


def test_limits_are_counted_over_a_whole_pipeline():
    applications = Applications(limit=2)
    for subject in (chain("Neg", "Neg", "Abs"), chain("Neg", "Neg", "Abs"), chain("Neg", "Neg", "Abs")):
        rewrite_graph(subject.graph, RuleIndex([double_neg]), applications=applications)
    assert ([1, 2], True) == ([item.number for item in applications.log], applications.exhausted)
    assert ["Neg", "Neg", "Abs"] == ops(subject)


# -- rules that misbehave -----------------------------------------------------------------------------------------------------


def test_rules_that_undo_each_other_are_stopped():
    @rewrite(op.Abs(any_("x")))
    def to_relu(m, rw):
        return rw.new("Relu", m["x"])

    @rewrite(op.Relu(any_("x")))
    def to_abs(m, rw):
        return rw.new("Abs", m["x"])

    with pytest.raises(
        PassError, match=r"rule 'to-(abs|relu)' was applied \d+ times in a graph of 1 nodes; it undoes itself"
    ):
        apply(chain("Abs"), to_relu, to_abs)


def test_an_exception_in_a_rule_names_rule_and_node():
    @rewrite(op.Abs(any_("x")))
    def broken(m, rw):
        return m["y"]

    subject = chain("Abs")
    next(iter(subject.graph.nodes)).name = "abs_7"
    with pytest.raises(
        PassError, match=r"rule 'broken' failed at node 'abs_7' .Abs.: KeyError: .*'y' is not bound to a value"
    ):
        apply(subject, broken)


def test_a_used_output_needs_a_replacement():
    @rewrite(op.Split(any_("x"), any_("s", optional=True)))
    def one_of_two(m, rw):
        return [rw.new("Identity", m["x"]), None]

    @rewrite(op.Split(any_("x"), any_("s", optional=True)))
    def three_of_two(m, rw):
        return [m["x"]] * 3

    def build(b, x):
        return b.Add(*b.Split(x, outputs=2, axis=0))

    with pytest.raises(
        PassError, match=r"rule 'one-of-two': gives nothing for output 1 .* of node .*\(Split\), which is used"
    ):
        apply(model(build, opset=13), one_of_two)
    with pytest.raises(PassError, match="rule 'three-of-two': gives 3 values for the 2 outputs of Split"):
        apply(model(build, opset=13), three_of_two)


def test_one_value_stands_for_the_first_output_while_nobody_reads_the_others():
    @rewrite(op.Split(any_("x"), any_("s", optional=True)))
    def first(m, rw):
        return rw.new("Slice", m["x"], np.array([0]), np.array([1]), np.array([0]))

    def only_first(b, x):
        return b.Abs(b.Split(x, outputs=2, axis=0)[0])

    def both(b, x):
        return b.Add(*b.Split(x, outputs=2, axis=0))

    subject = model(only_first, opset=13)
    assert apply(subject, first).changed
    assert ["Slice", "Abs"] == ops(subject)
    subject = model(both, opset=13)
    assert any("of Split is used too" in reason for reason in reasons(subject, first))
    assert ["Split", "Add"] == ops(subject)
    verify(subject)


def test_nodes_made_before_a_rule_gave_up_are_taken_back():
    @rewrite(op.Abs(any_("x")))
    def hesitates(m, rw):
        rw.constant(ones(7))
        rw.new("Mul", rw.new("Relu", m["x"]), ones(1))
        rw.new("example.gone::Op", m["x"])
        return NoMatch("changed its mind")

    subject = chain("Neg", "Abs")
    before = structural_hash(subject)
    assert ["changed its mind"] == reasons(subject, hesitates)
    assert before == structural_hash(subject)
    assert {"": 17} == subject.opset_imports
    assert [] == subject.graph.initializers()
    verify(subject)


def test_a_rule_that_edits_and_then_gives_up_is_an_error():
    @rewrite(op.Softmax(any_("x"), name="node"))
    def rash(m, rw):
        rw.set_attribute(m.node("node"), "axis", 0)
        return NoMatch("changed its mind")

    with pytest.raises(
        PassError, match=r"rule 'rash' edited the graph at node .* and then said that it does not apply: changed its"
    ):
        apply(model(lambda b, x: b.Softmax(x)), rash)


def test_reasons_are_formatted_only_when_read():
    class Costly:
        def __str__(self):
            raise AssertionError("nobody asked")

    @rewrite(op.Abs(any_("x")))
    def shy(m, rw):
        return NoMatch("because of %s", Costly())

    assert not apply(chain("Abs"), shy).changed


# -- class form, edits in place -----------------------------------------------------------------------------------------------


class FlattenNeg(RewritePattern):
    """A chain of any length of Neg -> one or none."""

    name = "flatten-neg"
    roots = ("Neg",)
    reach = 64

    def match_and_rewrite(self, node: Node, rw: Rewriter):
        value, count = node.inputs[0], 1
        while value is not None and value.producer is not None and value.producer.op == "Neg" and value.has_single_use:
            value, count = value.producer.inputs[0], count + 1
        if count == 1 or value is None:
            return NoMatch("no chain")
        return rw.new("Neg", value) if count % 2 else value


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9])
def test_a_class_can_match_any_shape(count):
    subject = chain(*["Neg"] * count, "Abs")
    apply(subject, FlattenNeg())
    assert ["Neg"] * (count % 2) + ["Abs"] == ops(subject)


def test_nodes_can_be_changed_in_place():
    @rewrite(op.Softmax(any_("x"), axis=1, name="node"))
    def last_axis(m, rw):
        rw.set_attribute(m.node("node"), "axis", -1)
        return IN_PLACE

    subject = model(lambda b, x: b.Softmax(x, axis=1))
    (node,) = subject.graph.nodes
    assert {"last-axis": 1} == apply(subject, last_axis).applied
    assert [node] == list(subject.graph.nodes)
    assert -1 == node.attr("axis")


def test_what_an_input_read_goes_when_nobody_needs_it():
    @rewrite(op.Add(op.Neg(any_("x"), shared=True), const("c"), name="add"))
    def skip_neg(m, rw):
        rw.set_input(m.node("add"), 0, m["x"])
        return IN_PLACE

    subject = model(lambda b, x: b.Add(b.Neg(x), ones(3)))
    assert apply(subject, skip_neg).changed
    assert ["Add"] == ops(subject)
    verify(subject)


# -- names, types, lineage, imports -----------------------------------------------------------------------------------------------


def test_outputs_keep_their_names_and_values_their_lineage():
    subject = chain("Relu", "Relu")
    for index, old in enumerate(subject.graph.nodes, start=1):
        old.name = f"relu_{index}"
    apply(subject, double_relu)
    (node,) = subject.graph.nodes
    assert ("y", "relu_2", {"relu_1", "relu_2"}) == (node.output.name, node.name, set(node.lineage.names()))


def test_an_output_that_becomes_an_input_gets_an_identity():
    subject = chain("Neg", "Neg")
    apply(subject, double_neg)
    verify(subject)
    assert ["Identity"] == ops(subject)
    assert "y" == subject.graph.outputs[0].name


def test_a_domain_is_imported_with_its_first_node():
    @rewrite(op.Abs(any_("x")))
    def to_stranger(m, rw):
        return rw.new("example.strange::Abs", m["x"])

    @rewrite(op.Relu(any_("x")))
    def to_known(m, rw):
        return rw.new("ai.onnx.ml::Binarizer", m["x"], threshold=0.0)

    subject = chain("Abs", "Relu")
    apply(subject, to_stranger, to_known)
    assert {"": 17, "example.strange": 1, "ai.onnx.ml": 1} == subject.opset_imports


def test_constants_that_nobody_reads_go():
    @rewrite(op.Mul(any_("x"), const("c", equal_to=1)))
    def mul_one(m, rw):
        return m["x"]

    subject = model(lambda b, x: b.Abs(b.Mul(x, ones(3))))
    apply(subject, mul_one)
    assert [] == subject.graph.initializers()


# -- against the naive way ------------------------------------------------------------------------------------------------------


def naive(subject: Model, *rules: Rule) -> Counter[str]:
    """Look at every node again after every rewrite, until nothing applies: slow, and hard to get wrong."""
    applied: Counter[str] = Counter()
    while True:
        for node in list(subject.graph.walk()):
            for rule in rules:
                if node.op in rule.roots:
                    applications = Applications(limit=1)
                    single = _At(rule, node)
                    rewrite_graph(subject.graph, RuleIndex([single]), applications=applications)
                    if applications.count:
                        applied[rule.name] += 1
                        break
            else:
                continue
            break
        else:
            return applied


class _At(RewritePattern):
    """A rule at one node only."""

    numerics = double_neg.numerics

    def __init__(self, rule: Rule, node: Node) -> None:
        self.rule, self.node = rule, node
        self.name, self.roots, self.benefit, self.reach = rule.name, rule.roots, 1, 1  # type: ignore[misc]  # one of a kind

    def match_and_rewrite(self, node: Node, rw: Rewriter):
        return self.rule.apply(node, rw) if node is self.node else NoMatch("elsewhere")


@st.composite
def graphs(draw: st.DrawFn) -> Model:
    """Small graphs of unary operators and Add, with values shared and given out at random, some of them in an If."""
    b = GraphBuilder(opset=17)
    values = [b.input("x", DType.FLOAT, [2])]

    def grow(builder: GraphBuilder, known: list[Value], count: int) -> None:
        for _ in range(count):
            name = draw(st.sampled_from(["Neg", "Neg", "Relu", "Abs", "Identity", "Add"]))
            pick = st.integers(max(0, len(known) - 4), len(known) - 1)
            inputs = [known[draw(pick)] for _ in range(2 if name == "Add" else 1)]
            known.append(builder.op(name, *inputs))

    grow(b, values, draw(st.integers(1, 14)))
    if draw(st.booleans()):
        branches = [b.subgraph(name) for name in ("then", "else")]
        for branch in branches:
            inner = list(values)
            grow(branch, inner, draw(st.integers(1, 5)))
            branch.output(branch.Relu(inner[-1]))
        values.append(b.If(np.array(True), then_branch=branches[0].graph, else_branch=branches[1].graph))
    produced = [value for value in values if value.producer is not None]
    for index in sorted(draw(st.sets(st.integers(0, len(produced) - 1), max_size=2)) | {len(produced) - 1}):
        b.output(produced[index], f"y{index}")
    return b.build()


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_the_driver_finds_what_the_naive_fixpoint_finds(subject):
    """All rules here shrink the graph and do not compete, so both ways end at the same fixpoint."""
    rules = (double_neg, double_relu, no_identity)
    other = clone_model(subject)
    apply(subject, *rules)
    naive(other, *rules)
    verify(subject)
    assert structural_hash(other) == structural_hash(subject)


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_after_the_driver_nothing_applies_any_more(subject):
    """With rules that compete, each fixpoint is one; a second run and the naive way find nothing to do in it."""
    apply(subject, *RULES)
    verify(subject)
    before = structural_hash(subject)
    assert not apply(subject, *RULES).changed
    assert {} == naive(subject, *RULES)
    assert before == structural_hash(subject)


def test_work_is_proportional_to_edits():
    """Ten times the nodes take ten times the attempts: nothing looks at the whole graph again after an edit."""

    def attempts(count: int) -> int:
        subject = chain(*["Neg", "Neg", "Relu", "Identity"] * (count // 4))
        refused = []
        index = RuleIndex((double_neg, no_identity, double_relu))
        result = rewrite_graph(subject.graph, index, explain=lambda rule, node, reason: refused.append(rule.name))
        return len(refused) + result.applied.total()

    assert attempts(10_000) <= 10.1 * attempts(1_000)
