"""Patterns without one of their guards: they match what the guard refused, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.guards.patterns import pattern_guards
from graphopt.ir import Attribute, AttributeKind, DType, GraphBuilder, Model, Value
from graphopt.rewriting import (
    Match,
    NoMatch,
    Replacement,
    Rewriter,
    RewriteRule,
    any_,
    const,
    one_of,
    op,
    rest,
    rewrite,
)
from graphopt.rewriting.pattern import OneOf, OpPattern
from tests.rewriting.graphs import apply, model, ones


def without(rule: RewriteRule, what: str) -> RewriteRule:
    """The rule without the one guard that is called so."""
    (pattern,) = [guard.pattern for guard in pattern_guards(rule.pattern) if guard.what == what]
    roots = pattern.choices if isinstance(pattern, OneOf) else (pattern,)
    return replace(rule, pattern=pattern, checked=tuple(root for root in roots if isinstance(root, OpPattern)))


def names(rule: RewriteRule) -> list[str]:
    return [guard.what for guard in pattern_guards(rule.pattern)]


@rewrite(op.Neg(op.Neg(any_("x"))))
def double_neg(m: Match, rw: Rewriter) -> Replacement:
    return m["x"]


def second_user(b: GraphBuilder, x: Value) -> Value:
    inner = b.Neg(x)
    return b.Add(b.Neg(inner), inner)


def graph_output(b: GraphBuilder, x: Value) -> Value:
    inner = b.Neg(x)
    b.output(inner, "z")
    return b.Abs(b.Neg(inner))


def captured(b: GraphBuilder, x: Value) -> Value:
    inner = b.Neg(x)
    then, other = b.subgraph("then"), b.subgraph("else")
    then.output(then.Abs(then.Neg(inner)), "t")
    other.output(other.Abs(x), "e")
    return b.If(np.array(True), then_branch=then.graph, else_branch=other.graph)


BUILDERS = {
    "Neg of Neg: no other users": second_user,
    "Neg of Neg: no graph output": graph_output,
    "Neg of Neg: no captured": captured,
}


def test_an_inner_node_has_three_guards():
    assert list(BUILDERS) == names(double_neg)


@pytest.mark.parametrize("what", BUILDERS)
def test_each_guard_of_an_inner_node_is_dropped_alone(what):
    mutant = without(double_neg, what)
    applied = [name for name, build in BUILDERS.items() if apply(model(build), mutant).changed]
    assert [what] == applied
    assert not any(apply(model(build), double_neg).changed for build in BUILDERS.values())


def test_other_outputs_are_a_guard_where_an_operator_has_some():
    @rewrite(op.Abs(op.Split(any_("x"), any_("s", optional=True))))
    def rule(m, rw):
        return m["x"]

    def build(b, x):
        first, second = b.Split(x, outputs=2, axis=0)
        return b.Add(b.Abs(first), second)

    assert not apply(model(build, opset=13), rule).changed
    assert apply(model(build, opset=13), without(rule, "Split of Abs: no other outputs")).changed


def test_shared_nodes_and_roots_have_no_guards_on_users():
    @rewrite(op.Neg(op.Neg(any_("x"), shared=True)))
    def rule(m, rw):
        return m["x"]

    assert [] == names(rule)


def with_default() -> Model:
    b = GraphBuilder(opset=17)
    x, c = b.input("x", DType.FLOAT, [3]), b.input("c", DType.FLOAT, [3])
    b.output(b.Add(x, c), "y")
    subject = b.build()
    c.const = b.constant(ones(3)).const
    subject.graph.add_initializer(c)
    return subject


@rewrite(op.Add(any_("x"), const("c")))
def add_constant(m: Match, rw: Rewriter) -> Replacement:
    return rw.new("Sub", m["x"], rw.constant(np.negative(m.array("c")))) if m["c"].const else NoMatch("computed")


def test_a_default_of_an_input_is_taken_for_constant():
    mutant = without(add_constant, "c of Add: no default of an input")
    assert not apply(with_default(), add_constant).changed
    assert apply(with_default(), mutant).changed
    assert not apply(model(lambda b, x: b.Add(x, b.Neg(x))), mutant).changed


def test_any_value_is_taken_for_constant():
    seen: list[bool] = []

    @rewrite(op.Add(any_("x"), const("c")))
    def rule(m, rw):
        seen.append(m["c"].is_constant)
        return NoMatch("seen")

    apply(model(lambda b, x: b.Add(x, b.Neg(x))), rule)
    assert [] == seen
    apply(model(lambda b, x: b.Add(x, b.Neg(x))), without(rule, "c of Add: constant"))
    assert [False] == seen


@pytest.mark.parametrize(
    ("what", "data"), [("one of Mul: one element", [1.0, 1.0, 1.0]), ("one of Mul: equal to 1", [2.0])]
)
def test_what_a_constant_must_be_is_dropped_alone(what, data):
    @rewrite(op.Mul(any_("x"), const("one", scalar=True, equal_to=1)))
    def rule(m, rw):
        return m["x"]

    def build(b, x):
        return b.Abs(b.Mul(x, np.array(data, np.float32)))

    mutant = without(rule, what)
    assert not apply(model(build), rule).changed
    assert apply(model(build), mutant).changed
    assert not apply(model(lambda b, x: b.Abs(b.Mul(x, ones(3) * 2))), mutant).changed


def test_a_name_may_stand_for_two_values():
    @rewrite(op.Sub(any_("x"), any_("x")))
    def rule(m, rw):
        return m["x"]

    assert ["x of Sub: the same value twice"] == names(rule)
    assert apply(model(lambda b, x: b.Abs(b.Sub(x, b.Neg(x)))), without(rule, "x of Sub: the same value twice")).changed


def test_names_of_alternatives_are_not_the_same_name_twice():
    inner = one_of(op.Neg(any_("x"), shared=True), op.Sigmoid(any_("x"), shared=True))

    @rewrite(one_of(op.Abs(op.Neg(any_("x"), shared=True)), op.Add(inner, any_("y"))))
    def rule(m, rw):
        return m["x"]

    assert [] == names(rule)

    @rewrite(op.Add(inner, any_("x")))
    def twice(m, rw):
        return m["x"]

    assert ["x of Add: the same value twice"] == names(twice)


def conv(*bias, **attributes):
    def build(b, x):
        image = b.Reshape(x, np.array([1, 2, 3, 1]))
        return b.Abs(b.Conv(image, ones(4, 2 // attributes.get("group", 1), 1, 1), *bias, **attributes))

    return build


def test_further_inputs_and_attributes_are_dropped_alone():
    @rewrite(op.Abs(op.Conv(any_("x"), any_("w"), group=1)))
    def rule(m, rw):
        return m["x"]

    further, group = without(rule, "Conv of Abs: no further inputs"), without(rule, "Conv of Abs: group")
    cases = (conv(ones(4)), conv(group=2))
    assert [False, False] == [apply(model(build), rule).changed for build in cases]
    assert [True, False] == [apply(model(build), further).changed for build in cases]
    assert [False, True] == [apply(model(build), group).changed for build in cases]


def test_a_tail_takes_further_inputs_anyway():
    @rewrite(op.Concat(any_("x"), rest("others")))
    def rule(m, rw):
        return m["x"]

    assert ["Concat: no references"] == names(rule)


def test_attributes_that_refer_to_the_function_are_read():
    @rewrite(op.Abs(op.Transpose(any_("x"), shared=True), name="root"))
    def rule(m, rw):
        return NoMatch("seen")

    subject = model(lambda b, x: b.Abs(b.Transpose(x, perm=[1, 0])))
    transpose = next(iter(subject.graph.nodes))
    transpose.set_attribute("perm", Attribute(AttributeKind.INTS, None, ref="order"))
    (root,) = [node for node in subject.graph.nodes if node.op == "Abs"]
    assert "seen" != str(rule.apply(root, Rewriter()))
    rewriter = Rewriter()
    rewriter.start(root)
    assert "seen" == str(without(rule, "Transpose of Abs: no references").apply(root, rewriter))
