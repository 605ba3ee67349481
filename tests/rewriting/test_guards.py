"""The guards that every pattern has unless it says otherwise, and what patterns can say."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.ir import DType, GraphBuilder, Value
from graphopt.rewriting import Match, NoMatch, Rewriter, any_, const, one_of, op, rest, rewrite
from tests.rewriting.graphs import apply, model, ones, ops, reasons


@rewrite(op.Neg(op.Neg(any_("x"), name="inner")))
def double_neg(m: Match, rw: Rewriter) -> Value:
    return m["x"]


@rewrite(op.Neg(op.Neg(any_("x"), shared=True)))
def double_neg_shared(m: Match, rw: Rewriter) -> Value:
    return m["x"]


def test_a_match_is_replaced():
    subject = model(lambda b, x: b.Abs(b.Neg(b.Neg(x))))
    assert {"double-neg": 1} == apply(subject, double_neg).applied
    assert ["Abs"] == ops(subject)
    assert not apply(subject, double_neg).changed


def second_user(b, x):
    inner = b.Neg(x)
    return b.Add(b.Neg(inner), inner)


def graph_output(b, x):
    inner = b.Neg(x)
    b.output(inner, "z")
    return b.Abs(b.Neg(inner))


def captured(b, x):
    inner = b.Neg(x)
    then, other = b.subgraph("then"), b.subgraph("else")
    then.output(then.Abs(then.Neg(inner)), "t")
    other.output(other.Abs(x), "e")
    return b.If(np.array(True), then_branch=then.graph, else_branch=other.graph)


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (second_user, "has 2 uses, expected one"),
        (graph_output, "is a graph output"),
        (captured, "is captured from an outer graph"),
    ],
)
def test_an_inner_value_that_others_need_is_not_matched(build, reason):
    subject = model(build)
    before = ops(subject)
    assert any(reason in found for found in reasons(subject, double_neg))
    assert before == ops(subject)


def test_a_shared_inner_value_is_matched_on_demand_and_stays():
    subject = model(second_user)
    assert {"double-neg-shared": 1} == apply(subject, double_neg_shared).applied
    assert ["Neg", "Add"] == ops(subject)


def test_two_uses_by_the_root_are_two_uses():
    @rewrite(op.Add(op.Neg(any_("x")), any_("y")))
    def rule(m, rw):
        return rw.new("Sub", m["y"], m["x"])

    def build(b, x):
        inner = b.Neg(x)
        return b.Abs(b.Add(inner, inner))

    assert not apply(model(build), rule).changed


def test_a_second_output_that_is_used_forbids_a_match():
    @rewrite(op.Abs(op.Split(any_("x"), any_("s", optional=True))))
    def rule(m, rw):
        return m["x"]

    def build(b, x):
        first, second = b.Split(x, outputs=2, axis=0)
        return b.Add(b.Abs(first), second)

    assert ["output 'split_output_1' of Split is used too"] == [
        reason.replace(reason.split("'")[1], "split_output_1") for reason in reasons(model(build, opset=13), rule)
    ]


def test_an_output_is_matched_by_its_index():
    @rewrite(op.Abs(op.Split(any_("x"), any_("s", optional=True), output=1)))
    def second(m, rw):
        return m["x"]

    def take(index):
        return lambda b, x: b.Abs(b.Neg(b.Abs(b.Split(x, outputs=2, axis=0)[index])))

    assert not apply(model(take(0), opset=13), second).changed
    assert apply(model(take(1), opset=13), second).changed


@rewrite(op.Add(any_("x"), const("c")))
def add_constant(m: Match, rw: Rewriter) -> Value:
    return rw.new("Sub", m["x"], rw.constant(np.negative(m.array("c"))))


def test_a_constant_must_be_one():
    assert not apply(model(lambda b, x: b.Add(x, x)), add_constant).changed
    assert apply(model(lambda b, x: b.Add(x, ones(3))), add_constant).changed


def test_a_constant_on_the_other_side_needs_commute():
    subject = model(lambda b, x: b.Add(ones(3), x))
    assert ["'x' is not constant"] == reasons(subject, add_constant)

    @rewrite(op.Add(any_("x"), const("c"), commute=True))
    def either(m, rw):
        return rw.new("Sub", m["x"], rw.constant(-m.array("c")))

    assert apply(subject, either).changed
    assert ["Sub"] == ops(subject)


def test_a_default_of_an_input_is_not_constant():
    b = GraphBuilder(opset=17)
    x = b.input("x", DType.FLOAT, [3])
    y = b.input("c", DType.FLOAT, [3])
    b.output(b.Add(x, y), "y")
    subject = b.build()
    y.const = b.constant(ones(3)).const
    subject.graph.add_initializer(y)
    assert not apply(subject, add_constant).changed
    subject.ir_version = 3  # initializers had to be inputs then
    assert apply(subject, add_constant).changed


@pytest.mark.parametrize(
    ("data", "matches"), [(ones(), True), (ones(1, 1), True), (ones(3), False), (ones(1) * 2, False)]
)
def test_constants_can_be_scalar_and_of_a_value(data, matches):
    @rewrite(op.Mul(any_("x"), const("one", scalar=True, equal_to=1)))
    def mul_one(m, rw):
        return m["x"]

    assert matches == apply(model(lambda b, x: b.Abs(b.Mul(x, data))), mul_one).changed


def conv(b, x, *bias, **attributes):
    image = b.Reshape(x, np.array([1, 2, 3, 1]))
    return b.Abs(b.Conv(image, ones(4, 2, 1, 1), *bias, **attributes))


@pytest.mark.parametrize(("bias", "found"), [((), False), ((ones(4),), True), ((None,), False)])
def test_an_optional_input_may_be_absent(bias, found):
    seen = []

    @rewrite(op.Abs(op.Conv(any_("x"), const("w"), const("b", optional=True), name="conv")))
    def rule(m, rw):
        seen.append((m.maybe("b") is not None, "b" in m))
        return NoMatch("seen")

    apply(model(lambda b, x: conv(b, x, *bias)), rule)
    assert [(found, found)] == seen


def test_an_input_that_the_pattern_does_not_have_must_be_absent():
    @rewrite(op.Abs(op.Conv(any_("x"), const("w"))))
    def rule(m, rw):
        return m["x"]

    assert ["Conv has a further input 'const_2'"] == [
        reason.replace(reason.split("'")[1], "const_2")
        for reason in reasons(model(lambda b, x: conv(b, x, ones(4))), rule)
    ]


@pytest.mark.parametrize(("stated", "matches"), [({}, True), ({"group": 1}, True), ({"group": 2}, False)])
def test_attributes_are_compared_with_the_default_of_the_schema(stated, matches):
    @rewrite(op.Abs(op.Conv(any_("x"), const("w"), group=1)))
    def rule(m, rw):
        return m["x"]

    def build(b, x):
        image = b.Reshape(x, np.array([1, 2, 3, 1]))
        return b.Abs(b.Conv(image, ones(4, 2 // stated.get("group", 1), 1, 1), **stated))

    assert matches == apply(model(build), rule).changed


def test_attributes_can_be_tested_by_a_function():
    @rewrite(op.Softmax(any_("x"), axis=lambda axis: isinstance(axis, int) and axis < 0))
    def rule(m, rw):
        return m["x"]

    assert apply(model(lambda b, x: b.Abs(b.Softmax(x))), rule).changed
    assert ["attribute 'axis' of Softmax is 1"] == reasons(model(lambda b, x: b.Abs(b.Softmax(x, axis=1))), rule)


def test_one_of_takes_the_first_that_matches_and_forgets_the_rest():
    bound = []

    @rewrite(op.Abs(one_of(op.Neg(op.Relu(any_("a"))), op.Neg(any_("b")))))
    def rule(m, rw):
        bound.append(("a" in m, "b" in m, len(m.nodes)))
        return NoMatch("seen")

    apply(model(lambda b, x: b.Abs(b.Neg(b.Relu(x)))), rule)
    apply(model(lambda b, x: b.Abs(b.Neg(b.Sigmoid(x)))), rule)
    assert [(True, False, 3), (False, True, 2)] == bound


def test_one_of_as_root_stands_for_several_rules():
    @rewrite(one_of(op.Abs(op.Abs(any_("x"))), op.Relu(op.Relu(any_("x")))))
    def idempotent(m, rw):
        return rw.new(m.root.op, m["x"])

    assert ("Abs", "Relu") == idempotent.roots
    subject = model(lambda b, x: b.Relu(b.Relu(b.Abs(b.Abs(b.Abs(x))))))
    assert {"idempotent": 3} == apply(subject, idempotent).applied
    assert ["Abs", "Relu"] == ops(subject)


def test_several_operators_in_one_pattern():
    @rewrite(op["Add", "Sub"](any_("x"), const("zero", equal_to=0), name="node"))
    def rule(m, rw):
        return m["x"]

    subject = model(lambda b, x: b.Abs(b.Sub(b.Add(x, ones(3) * 0), ones(3) * 0)))
    assert {"rule": 2} == apply(subject, rule).applied


def test_the_same_name_means_the_same_value():
    @rewrite(op.Sub(any_("x"), any_("x")))
    def same(m, rw):
        return NoMatch("seen")

    assert ["seen"] == reasons(model(lambda b, x: b.Sub(x, x)), same)
    assert ["'x' stands for two values"] == reasons(model(lambda b, x: b.Sub(x, b.Neg(x))), same)


def test_a_tail_takes_any_number_of_inputs():
    @rewrite(op.Concat(any_("first"), rest("others"), name="concat"))
    def rule(m, rw):
        return NoMatch("%d others", len(m.values("others")))

    for count in (1, 2, 5):
        build = lambda b, x, count=count: b.Concat(*[x] * count, axis=0)  # noqa: E731 - one line says it
        assert [f"{count - 1} others"] == reasons(model(build), rule)


def test_opsets_limit_a_rule():
    @rewrite(op.Neg(op.Neg(any_("x"))), min_opset=10, max_opset=12)
    def rule(m, rw):
        return m["x"]

    build = lambda b, x: b.Abs(b.Neg(b.Neg(x)))  # noqa: E731 - one line says it
    assert [False, True, True, False] == [apply(model(build, opset), rule).changed for opset in (9, 10, 12, 13)]
    assert "opset 13 is not between 10 and 12" in reasons(model(build, 13), rule)


def test_other_operators_domains_are_matched_by_their_full_name():
    @rewrite(op["com.microsoft::Gelu"](any_("x")))
    def rule(m, rw):
        return m["x"]

    subject = model(lambda b, x: b.Abs(b.op("Gelu", x, domain="com.microsoft")))
    assert apply(subject, rule).changed


def test_matches_give_typed_access_and_clear_errors():
    seen = {}

    @rewrite(op.Abs(op.Conv(any_("x"), const("w"), const("b", optional=True), name="conv"), name="abs"))
    def rule(m, rw):
        seen["m"] = m
        return NoMatch("seen")

    apply(model(conv), rule)
    m = seen["m"]
    assert ("Conv", (4, 2, 1, 1), 1, None) == (
        m.node("conv").op,
        m.array("w").shape,
        m.attr("conv", "group"),
        m.maybe("b"),
    )
    assert m.root is m.node("abs")
    assert ["Abs", "Conv"] == [node.op for node in m.nodes]
    with pytest.raises(KeyError, match="'b' is not bound to a value in this match; bound: abs, conv, w, x"):
        m.value("b")
    with pytest.raises(KeyError, match="'conv' is not bound to a value"):
        m.value("conv")
    with pytest.raises(KeyError, match=r"'x' is bound to .* which is not constant"):
        m.array("x")
    with pytest.raises(ValueError, match="read-only"):
        m.array("w")[0] = 0
