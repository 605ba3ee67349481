"""A pattern that contradicts the operator schemas fails when its module loads."""

from __future__ import annotations

import pytest

from graphopt.errors import PatternError
from graphopt.rewriting import any_, const, one_of, op, rest, rewrite


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (any_("x"), "the root is x, expected an operator pattern such as op.Relu"),
        (one_of(op.Neg(any_("x")), const("c")), "the root is const c, expected an operator pattern"),
        (op.Rellu(any_("x")), "no operator 'Rellu' in any opset; check the spelling"),
        (op.Neg(op.Rellu(any_("x"))), "no operator 'Rellu' in any opset"),
        (op.Neg(one_of(op.Abs(any_("x")), op.Abbs(any_("x")))), "no operator 'Abbs' in any opset"),
        (op.Neg(any_("x"), any_("y")), "Neg has at most 1 inputs, the pattern has 2"),
        (
            op.Conv(any_("x"), any_("w"), groups=1),
            r"Conv has no attribute 'groups' in any opset; it has: auto_pad, dilations, group",
        ),
        (op.Neg(any_("x"), axis=1), "Neg has no attribute 'axis' in any opset; it has: consumed_inputs"),
        (op.Abs(op.Neg(any_("x"), output=1)), "Neg has no output 1"),
        (op.Add(any_("x"), const("x")), "name 'x' stands for Any and for Const; use two names"),
        (op.Neg(any_("x"), name="x"), "name 'x' stands for OpPattern and for Any"),
        (op.Concat(any_("x"), rest("x")), "name 'x' stands for Rest and for Any"),
    ],
)
def test_a_wrong_pattern_is_refused(pattern, message):
    with pytest.raises(PatternError, match=message) as caught:

        @rewrite(pattern)
        def some_rule(m, rw):
            return m["x"]

    assert str(caught.value).startswith("rule 'some-rule': ")


@pytest.mark.parametrize(
    "pattern",
    [
        op.Squeeze(any_("x"), axes=lambda axes: True),  # an attribute of old opsets only
        op.Squeeze(any_("x"), any_("axes", optional=True)),  # an input of new ones only
        op.Upsample(any_("x"), any_("scales")),  # gone since opset 10
        op["com.microsoft::FusedConv"](any_("x"), any_("w"), activation="Relu"),
        op["nobody.knows::This"](any_("x"), any_("y"), any_("z"), anything=1),
        op.Concat(rest("all")),
        op.BatchNormalization(*map(any_, "xsbmv"), training_mode=0),
    ],
)
def test_what_any_opset_or_a_stranger_has_is_accepted(pattern):
    @rewrite(pattern)
    def some_rule(m, rw):
        return m["x"]

    assert "some-rule" == some_rule.name


def test_commute_needs_two_inputs():
    with pytest.raises(ValueError, match="Concat: commute=True needs two inputs, found 3"):
        op.Concat(any_("a"), any_("b"), any_("c"), commute=True)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (op.Neg(op.Neg(any_("x"))), "Neg(Neg(x))"),
        (op.Conv(any_("x"), const("w"), const("b", optional=True), group=1), "Conv(x, const w, const b?, group=1)"),
        (op["Add", "Sub"](any_("x"), const("c", equal_to=0)), "Add|Sub(x, const c=0)"),
        (op.Abs(one_of(op.Neg(any_("x")), any_("x"))), "Abs(Neg(x) | x)"),
        (op.Concat(any_("a"), rest("more")), "Concat(a, *more)"),
    ],
)
def test_patterns_print_as_they_are_written(pattern, text):
    assert text == str(pattern)


def test_rules_are_named_after_their_function_and_can_be_read():
    @rewrite(op.Neg(op.Neg(any_("x"))), benefit=3)
    def eliminate_double_neg(m, rw):
        """Neg(Neg(x)) -> x."""
        return m["x"]

    rule = eliminate_double_neg
    assert ("eliminate-double-neg", ("Neg",), 3, 2, "Neg(Neg(x)) -> x.") == (
        rule.name,
        rule.roots,
        rule.benefit,
        rule.reach,
        rule.doc,
    )
    assert "eliminate-double-neg: Neg(Neg(x))" == str(rule)
