"""The pass and the rewrite at fault, found by running parts of a pipeline."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

import graphopt
from graphopt import hookimpl
from graphopt.builtin_plugin import builtin_plugins
from graphopt.compiler import bisect, optimize
from graphopt.data import digits_model
from graphopt.errors import ExecutionError, GraphoptError, PipelineError
from graphopt.passes import Pass, RewritePass
from graphopt.plugin_manager import PluginManager
from graphopt.rewriting import Reassociates, any_, op, rewrite
from tests.compiler import planting

CASES = [
    ("wrong-rule", "rewrite", "drop-sqrt", "d", "wrong-numbers"),
    ("wrong-pattern", "rewrite", "exp-to-abs", "f", "wrong-numbers"),
    ("invalid-rule", "rewrite", "use-missing-operator", "f", "invalid-model"),
    ("raising-rule", "rewrite", "raise-index-error", "f", "exception"),
    ("wrong-pass", "pass", "wrong-pass", "", "wrong-numbers"),
    ("silent-pass", "pass", "silent-pass", "", "wrong-numbers"),
    ("broken-graph", "pass", "broken-graph", "", "invalid-model"),
    ("raising-pass", "pass", "raising-pass", "", "exception"),
]


@pytest.mark.parametrize(("name", "granularity", "rule", "site", "kind"), CASES)
def test_pass_rewrite_and_kind_are_named(name, granularity, rule, site, kind):
    """Whatever goes before and after."""
    found = bisect(planting.chain(), pipeline=f"fold-shapes,{name},canonicalize", plugins=planting.plugins())
    assert "found" == found.status
    blamed = found.blamed
    assert blamed is not None
    assert (granularity, name, rule, site, kind) == (
        blamed.granularity, blamed.pass_name, blamed.rule, blamed.site, blamed.kind,
    )  # fmt: skip
    assert ("acme", (2,), ()) == (blamed.plugin, blamed.place.index, blamed.place.rounds)
    assert blamed.before.kind is None
    assert kind == blamed.after.kind
    assert blamed.rule_alone


def test_the_numbers_before_and_after_are_those_of_the_model():
    """At the worst element of the worst output, and the nodes have their original names."""
    x = np.array([[0.5, 1, -4, 9]], np.float32)
    found = bisect(planting.chain(), pipeline="wrong-rule", inputs={"x": x}, plugins=planting.plugins())
    blamed = found.blamed
    assert blamed is not None
    assert (2, "#2 drop-sqrt at 'd' (pass wrong-rule of plugin 'acme')") == (blamed.number, str(blamed))
    assert (("node_d",), ["Sqrt"], []) == (
        blamed.origins,
        [node.op for node in blamed.removed],
        [node.op for node in blamed.added],
    )
    right, wrong = np.exp(np.sqrt(np.sqrt(np.abs(x)))), np.exp(np.sqrt(np.abs(x)))
    assert ("y", (0, 3)) == (blamed.after.output, blamed.after.worst)
    assert (right[0, 3], wrong[0, 3]) == pytest.approx(
        (float(blamed.after.expected), float(blamed.after.actual)), rel=1e-4
    )
    assert blamed.after.max_abs == pytest.approx(float(np.abs(right - wrong).max()), rel=1e-4)
    assert (None, None, 0.0) == (blamed.before.kind, blamed.before.worst, blamed.before.max_abs)
    assert not blamed.alone  # the other square root is dropped, too


def test_a_right_pipeline_blames_nothing():
    """One run tells."""
    found = bisect(digits_model(), level="O2", samples=1)
    assert ("right", None, 1, True) == (found.status, found.blamed, found.runs, found.ok)
    assert found.applications == 13


def test_two_runs_say_the_same():
    """JSON of both is equal, byte by byte."""
    texts = {
        json.dumps(bisect(planting.chain(), pipeline="O1,wrong-rule,tidy", plugins=planting.plugins()).to_dict())
        for _ in range(2)
    }
    assert 1 == len(texts)
    assert "seconds" not in texts.pop()


def with_rules(*rules):
    """A plugin whose pass has rules."""

    class Rules(RewritePass):
        """Rules of a test."""

        name = "rules"

    Rules.rules = rules

    @hookimpl
    def graphopt_passes() -> list[type[Pass]]:
        return [Rules]

    found = builtin_plugins(discover=False)
    found.register(type("Plugin", (), {"graphopt_passes": staticmethod(graphopt_passes)})(), name="rules")
    return found


def test_the_round_of_a_fixpoint_is_told():
    """The wrong rule applies in the second round only, when another pass has made way for it."""

    @rewrite(op.Sqrt(op.Exp(any_("x"))))
    def merge_wrongly(m, rw):
        return rw.new("Exp", m["x"])

    model = planting.parse_model(planting.HEAD + "{ a = Exp(x) b = Neg(a) c = Neg(b) d = Sqrt(c) y = Abs(d) }")
    pipeline = "fold-shapes,fixpoint(rules,canonicalize,eliminate-dead-code)"
    found = bisect(model, pipeline=pipeline, plugins=with_rules(merge_wrongly))
    assert found.blamed is not None
    assert ((2, 1), (2,), "merge-wrongly") == (
        found.blamed.place.index,
        found.blamed.place.rounds,
        found.blamed.rule,
    )
    assert "at 2.1 of the pipeline, round 2" in str(found.blamed.place)


def test_what_is_blamed_was_right_before_and_wrong_after_though_a_later_rewrite_hides_an_earlier_one():
    """A sign is lost at the first node, made up for by the second, and lost again by the third: any answer must be a true step."""

    @rewrite(op.Floor(any_("x")))
    def floor_to_neg(m, rw):
        return rw.new("Neg", m["x"])

    model = planting.parse_model(
        '<ir_version: 10, opset_import: ["": 17]> g (int32[n, 4] i) => (float[n, 4] y) '
        "{ x = Cast<to=1>(i) a = Floor(x) b = Floor(a) c = Floor(b) y = Identity(c) }"
    )
    found = bisect(model, pipeline="rules", plugins=with_rules(floor_to_neg))
    assert found.blamed is not None
    assert found.blamed.number in (1, 3)
    assert (None, "wrong-numbers") == (found.blamed.before.kind, found.blamed.after.kind)
    assert bisect(model, pipeline="rules", plugins=with_rules(floor_to_neg), disabled=["floor-to-neg"]).ok


def test_the_tolerance_is_that_of_the_passes_unless_another_one_is_stated():
    """A pass that declares rounding is right by what it declares, and wrong where nothing may differ."""

    @rewrite(op.Exp(any_("x")), numerics=Reassociates())
    def scaled_exp(m, rw):
        return rw.new("Pow", np.float32(math.e), m["x"])

    options: dict[str, Any] = {"pipeline": "rules", "plugins": with_rules(scaled_exp)}
    assert bisect(planting.chain(), **options).ok
    assert bisect(planting.chain(), rtol=1e-3, **options).ok
    found = bisect(planting.chain(), rtol=1e-8, inputs={"x": np.full((1, 4), 4e6, np.float32)}, **options)
    assert found.blamed is not None
    assert "scaled-exp" == found.blamed.rule


def test_only_one_kind_of_failure_can_be_looked_for():
    """The exception comes after the wrong numbers."""
    options: dict[str, Any] = {"pipeline": "wrong-rule,raising-rule", "plugins": planting.plugins()}
    first = bisect(planting.chain(), **options)
    assert first.blamed is not None
    assert ("wrong-numbers", "drop-sqrt") == (first.blamed.kind, first.blamed.rule)
    assert any("fails in another way: exception" in note for note in first.notes)
    other = bisect(planting.chain(), kind="exception", **options)
    assert other.blamed is not None
    assert ("exception", "raise-index-error") == (other.blamed.kind, other.blamed.rule)


def test_something_else_that_is_wrong_is_told():
    """With both left out nothing is wrong."""
    options: dict[str, Any] = {"pipeline": "wrong-rule,wrong-pattern", "plugins": planting.plugins()}
    found = bisect(planting.chain(), **options)
    assert found.blamed is not None
    assert (False, ("something else is wrong, too: bisect again with --disable drop-sqrt",)) == (
        found.blamed.rule_alone,
        found.notes,
    )
    again = bisect(planting.chain(), disabled=["drop-sqrt"], **options)
    assert again.blamed is not None
    assert ("exp-to-abs", True) == (again.blamed.rule, again.blamed.alone)
    assert bisect(planting.chain(), disabled=["drop-sqrt", "exp-to-abs"], **options).ok


def test_several_sets_of_inputs_can_be_brought():
    """The failure shows in the second one only."""
    one, two = (np.full((1, 4), number, np.float32) for number in (1, 3))
    options: dict[str, Any] = {"pipeline": "wrong-rule", "plugins": planting.plugins()}
    assert bisect(planting.chain(), inputs={"x": one}, **options).ok
    found = bisect(planting.chain(), inputs=[{"x": one}, {"x": two}], **options)
    assert ("found", 2) == (found.status, found.samples)


def test_legalization_at_fault_blames_no_pass(monkeypatch: pytest.MonkeyPatch):
    """The result is wrong before the first pass."""
    plugins = planting.plugins()
    backend = graphopt.compiler.Environment(plugins).backend("onnxruntime")
    monkeypatch.setattr(type(backend), "legalize", lambda self, model, ctx: "wrong-pass")
    found = bisect(planting.chain(), level="O1", plugins=plugins)
    assert ("original", None) == (found.status, found.blamed)
    assert not found.ok


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"kind": "slow"}, "there is no kind of failure 'slow'"),
        ({"samples": 0}, "samples is 0, expected 1 to 1000"),
        ({"samples": 100_000_000}, "samples is 100000000, expected 1 to 1000"),
        ({"rtol": -1.0}, "rtol is -1, expected a finite number"),
        ({"rtol": float("nan")}, "rtol is nan, expected a finite number"),
        ({"pipeline": "wrong-rul"}, "did you mean 'wrong-rule'"),
        ({"disabled": ["drop-sqr"]}, "did you mean 'drop-sqrt'"),
    ],
)
def test_what_makes_no_sense_is_refused(options, expected):
    """In a line that says what is there."""
    with pytest.raises(PipelineError, match=expected):
        bisect(planting.chain(), plugins=planting.plugins(), **options)


def test_inputs_that_do_not_fit_are_an_error():
    """So is a model that runs on nothing."""
    with pytest.raises(ExecutionError, match="x"):
        bisect(planting.chain(), inputs={"z": np.zeros(3, np.float32)})
    model = planting.parse_model(planting.HEAD + "{ a = Unknown(x) y = Relu(a) }")
    with pytest.raises(GraphoptError, match="Unknown"):
        bisect(model)


def test_what_optimize_leaves_out_is_what_bisect_blames():
    """They are the same search."""
    plugins: PluginManager = planting.plugins()
    healed = optimize(planting.chain(), pipeline="O1,wrong-pattern,O1", plugins=plugins)
    blamed = bisect(planting.chain(), pipeline="O1,wrong-pattern,O1", plugins=plugins).blamed
    assert [str(blamed)] == healed.report.skipped
