"""Where a pattern stopped, told part by part."""

from __future__ import annotations

import numpy as np

from benchmarks.planted_models import encoder
from graphopt.compiler import optimize
from graphopt.data import digits_model
from graphopt.ir import DType, GraphBuilder, Node
from graphopt.rewriting import NoMatch, RewritePattern, RewriteRule, any_, const, diagnose, one_of, op, rest, rewrite
from graphopt.rewriting.pattern import OneOf, OpPattern


def build():
    b = GraphBuilder(opset=17)
    return b, b.input("x", DType.FLOAT, ["n", 4, 8, 8]), b.input("z", DType.FLOAT, ["n", 4, 8, 8])


def stop(rule, value, reason="told by the matcher"):
    found = diagnose(rule, value.producer, NoMatch(reason))
    return found.where, found.part, found.reason


@rewrite(
    op.BatchNormalization(
        op.Conv(any_("x"), const("w"), const("b", optional=True), group=1),
        const("scale"), const("bias"), const("mean"), const("var"),
    )
)  # fmt: skip
def fold(m, rw):
    return m["x"]


def normalized(b, x, w, **attributes):
    ones = [np.ones(4, np.float32) for _ in range(4)]
    return b.output(b.BatchNormalization(b.Conv(x, w, name="conv", **attributes), *ones, name="bn"), "y")


def test_a_weight_that_is_not_constant_is_found_two_inputs_deep():
    b, x, _ = build()
    y = normalized(b, x, b.input("w"))
    assert ("BatchNormalization.input[0] -> Conv.input[1] 'w'", "const w", "'w' is not constant") == stop(fold, y)


def test_an_attribute_an_operator_and_a_user_are_found():
    b, x, _ = build()
    w = np.ones((4, 2, 3, 3), np.float32)
    where, _, reason = stop(fold, normalized(b, x, w, group=2))
    assert ("BatchNormalization.input[0] 'conv'", "attribute 'group' of Conv is 2") == (where, reason)
    b, x, _ = build()
    y = b.output(b.BatchNormalization(b.Relu(x, name="r"), *[np.ones(4, np.float32)] * 4), "y")
    where, part, reason = stop(fold, y)
    assert ("BatchNormalization.input[0] 'r'", "Conv(x, const w, const b?, group=1)") == (where, part)
    assert "'r' is not produced by" in reason
    b, x, _ = build()
    y = normalized(b, x, np.ones((4, 4, 3, 3), np.float32))
    b.output(b.Relu(y.producer.inputs[0]), "other")
    assert ("BatchNormalization.input[0] 'conv'", "'conv' has 2 uses, expected one") == stop(fold, y)[::2]


def test_of_alternatives_the_one_that_got_furthest_is_told():
    @rewrite(op.Relu(one_of(op.Neg(any_("a")), op.Add(op.Abs(any_("b")), const("c")))))
    def either(m, rw):
        return m["a"]

    b, x, z = build()
    y = b.output(b.Relu(b.Add(b.Abs(x), z)), "y")
    assert ("Relu.input[0] -> Add.input[1] 'z'", "const c", "'z' is not constant") == stop(either, y)


def test_commuted_inputs_are_tried_both_ways():
    @rewrite(op.Add(op.Abs(op.Neg(any_("x"))), const("c"), commute=True))
    def commuted(m, rw):
        return m["x"]

    b, x, _ = build()
    y = b.output(b.Add(np.ones(1, np.float32), b.Abs(b.Exp(x, name="e"))), "y")
    where, part, _ = stop(commuted, y)
    assert ("Add.input[1] -> Abs.input[0] 'e'", "Neg(x)") == (where, part)


def test_absent_and_further_inputs_are_told():
    @rewrite(op.Clip(any_("x"), const("low"), const("high")))
    def clip(m, rw):
        return m["x"]

    @rewrite(op.Clip(any_("x"), const("low")))
    def lower(m, rw):
        return m["x"]

    b, x, _ = build()
    one_sided, both = b.Clip(x, np.float32(0)), b.Clip(x, np.float32(0), np.float32(1))
    assert ("Clip.input[2]", "const high", "an input is absent") == stop(clip, one_sided)
    assert "Clip has a further input 'const_2'" == stop(lower, both)[2]


def test_a_rule_that_matches_and_refuses_says_so_itself():
    @rewrite(op.Concat(any_("x"), rest("more")))
    def refuses(m, rw):
        return NoMatch("not today")

    class InClassForm(RewritePattern):
        """A rule."""

        name = "in-class-form"
        roots = ("Concat",)

        def match_and_rewrite(self, node: Node, rw):
            return NoMatch("not today")

    b, x, z = build()
    y = b.Concat(x, z, axis=1)
    assert ("(body)", "Concat(x, *more)", "not today") == stop(refuses, y, "not today")
    assert ("(body)", "Concat ...", "not today") == stop(InClassForm(), y, "not today")


def test_opsets_out_of_range_are_told_by_the_rule():
    @rewrite(op.Relu(any_("x")), max_opset=12)
    def old(m, rw):
        return m["x"]

    b, x, _ = build()
    assert ("Relu", "opset 17 is not between 1 and 12") == stop(old, b.Relu(x), "opset 17 is not between 1 and 12")[::2]


def test_names_that_must_mean_the_same_value_are_compared():
    @rewrite(op.Mul(any_("x"), any_("x")))
    def square(m, rw):
        return m["x"]

    b, x, z = build()
    assert ("Mul.input[1] 'z'", "x", "'x' stands for two values") == stop(square, b.Mul(x, z))


def test_the_matcher_and_the_slower_one_agree():
    """What the driver hears is what the diagnosis ends with, at every candidate of two networks."""
    seen = []

    def explain(rule, node, reason):
        found = diagnose(rule, node, reason)
        seen.append(found.path)
        parts = list(rule.pattern.parts()) if isinstance(rule, RewriteRule) else []
        several = any(isinstance(part, OneOf) or (isinstance(part, OpPattern) and part.commute) for part in parts)
        assert several or found.reason == str(reason)

    for source in (digits_model(), encoder(2)):
        optimize(source, explain=explain, check=False)
    assert 100 < len(seen)
    assert 1 < len(set(seen))
