"""Models for a rule: what its pattern asks for is there; a near miss changes one thing, which the model shows."""

from __future__ import annotations

import functools
from collections import Counter

import onnx
import pytest
from hypothesis.errors import InvalidArgument

from graphopt.builtin_plugin import builtin_plugins
from graphopt.rewriting import RewritePattern, any_, const, one_of, op, rest, rewrite
from graphopt.testing import graphs_matching, near_misses
from graphopt.testing.strategies.bulk import sampled_near_misses
from graphopt.testing.strategies.rules import applications_of, contexts_of
from graphopt.transforms.canonicalize.concats import EliminateConcatOfSplit
from graphopt.transforms.fusion.conv_batch_norm import fold_batch_norm
from tests.testing.handmade import HAND_MADE
from tests.testing.strategies.drawing import drawn, nodes_of


@rewrite(op.Neg(op.Neg(any_("x"))))
def double_neg(m, rw):
    return m["x"]


@rewrite(op.Div(op.Mul(any_("x"), const("factor", equal_to=2)), const("two", equal_to=2, scalar=True)))
def halved_double(m, rw):
    return m["x"]


@rewrite(op.Transpose(op.Transpose(any_("x"), perm=lambda perm: perm is not None), perm=(1, 0)))
def two_transposes(m, rw):
    return m["x"]


@rewrite(op.Sub(any_("x"), any_("x")), min_opset=13, max_opset=17)
def self_difference(m, rw):
    return m["x"]


def test_matching_models_match():
    for model in drawn(graphs_matching(double_neg), 25):
        assert applications_of(double_neg, model.ir) >= 1
        assert model.sites
        assert not model.change


def test_constants_are_what_the_pattern_says():
    found = drawn(graphs_matching(halved_double), 15)
    assert (
        sum(applications_of(halved_double, model.ir) > 0 for model in found) >= 11
    )  # constants that are nodes do not match


def test_attributes_are_what_the_pattern_says():
    for model in drawn(graphs_matching(two_transposes), 8):
        perms = [list(item.ints) for node in nodes_of(model) for item in node.attribute if item.name == "perm"]
        assert [1, 0] in perms


def test_one_name_is_one_value_and_opsets_are_those_of_the_rule():
    for model in drawn(graphs_matching(self_difference), 12):
        assert 13 <= model.opset <= 17
        assert any(node.op_type == "Sub" and node.input[0] == node.input[1] for node in nodes_of(model))


def test_applies_draws_only_where_the_rule_applies():
    for model in drawn(graphs_matching(fold_batch_norm, applies=True), 8):
        assert applications_of(fold_batch_norm, model.ir) >= 1


def test_two_outputs_of_one_node():
    for model in drawn(graphs_matching(EliminateConcatOfSplit()), 6):
        split = next(node for node in nodes_of(model) if node.op_type == "Split")
        concat = next(node for node in nodes_of(model) if node.op_type == "Concat")
        assert list(split.output[:2]) == list(concat.input[:2])


@functools.cache
def misses(rule):
    return tuple(sampled_near_misses(rule, 160))


def test_near_misses_that_hypothesis_draws_say_what_was_changed():
    for model in drawn(near_misses(halved_double), 10):
        assert model.change
        assert model.feeds


def test_near_misses_change_one_thing_of_each_kind():
    changes = [model.change for model in misses(halved_double)]
    for part in (
        "second user", "given out", "is an input", "may be overridden", "is another one", "has shape", "sizes of inputs", "swapped",
        "captures its inputs", "opset", "element type", "other ranks", "without elements", "extreme", "and not",
    ):  # fmt: skip
        assert any(part in change for change in changes), (part, Counter(changes))


def test_near_misses_still_run_and_still_mostly_do_not_match():
    found = misses(halved_double)
    for model in found:
        onnx.checker.check_model(model.proto)
        assert model.feeds
    assert sum(applications_of(halved_double, model.ir) == 0 for model in found) >= 60


def test_a_constant_that_is_dynamic_or_overridable_is_an_input():
    for model in misses(halved_double):
        inputs = {value.name for value in model.proto.graph.input}
        defaults = inputs & {item.name for item in model.proto.graph.initializer}
        if "may be overridden" in model.change:
            assert defaults
            assert any(defaults & set(feeds) for feeds in model.feeds), "nobody overrides it"
        if "is an input" in model.change or "may be overridden" in model.change:
            assert model.change.split("'")[1] in inputs


def test_attributes_come_from_the_schema_and_not_from_the_pattern():
    names = {model.change.split("'")[1] for model in misses(fold_batch_norm) if model.change.startswith("attribute")}
    assert len(names) >= 5
    assert {"training_mode", "epsilon", "momentum"} & names


def test_attributes_refer_to_those_of_functions():
    found = [model for model in misses(fold_batch_norm) if "refers to one of a function" in model.change]
    assert found
    for model in found:
        (function,) = model.proto.functions
        assert any(item.ref_attr_name for node in function.node for item in node.attribute)


def test_rules_in_class_form_say_what_graphs_they_are_for():
    class Chain(RewritePattern):
        """Nothing."""

        name = "chain"
        roots = ("Abs",)
        contexts = (op.Abs(op.Exp(any_("x"))),)

        def match_and_rewrite(self, node, rw):
            return node.inputs[0]

    for model in drawn(graphs_matching(Chain()), 5):
        assert {"Abs", "Exp"} <= {node.op_type for graph in [model.proto.graph] for node in graph.node} or "If" in str(
            model
        )


def test_alternatives_and_tails():
    @rewrite(one_of(op.Max(any_("x"), rest("others")), op["Floor", "Ceil"](any_("x"))))
    def anything(m, rw):
        return m["x"]

    ops = Counter(node.op_type for model in drawn(graphs_matching(anything), 40) for node in nodes_of(model))
    assert {"Max", "Floor", "Ceil"} <= set(ops)


def test_operators_that_nothing_runs_are_refused_in_one_line():
    @rewrite(op["com.example::Nothing"](any_("x")))
    def unknown(m, rw):
        return m["x"]

    with pytest.raises(InvalidArgument, match=r"com\.example::Nothing"):
        drawn(graphs_matching(unknown), 1)


def _rules():
    """All but those whose graphs hang together by shapes, or by types that no other operator takes: models by hand test these."""
    registry = builtin_plugins(discover=False).passes
    found = {rule.name: rule for name in registry for rule in getattr(registry.find(name)(), "active_rules", tuple)()}
    assert HAND_MADE.keys() <= found.keys()
    drawable = [rule for rule in found.values() if rule.name not in HAND_MADE]
    return [rule for rule in drawable if not any("::" in root for root in rule.roots)]


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule.name) for rule in _rules()])
def test_each_builtin_rule_applies_to_models_that_are_drawn_for_it(rule):
    found = drawn(graphs_matching(rule, applies=True), 3)
    assert len(found) == 3
    assert contexts_of(rule)
