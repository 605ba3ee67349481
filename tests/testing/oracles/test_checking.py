"""All laws in one call: every planted pass turns it red, the right one gets a report."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st
from onnx.parser import parse_model

from graphopt.passes import Fixpoint, Pipeline
from graphopt.rewriting import NoMatch, RewritePattern
from graphopt.testing import TRANSFORMATIONS, GeneratedModel, LawBroken, check_pass
from graphopt.testing.oracles import checking
from tests.testing.oracles import broken_passes as planted
from tests.testing.oracles.broken_passes import DOUBLE_NEG, HEAD, SUM

TWO_RELUS = f"{HEAD} g (float[n] x) => (float[n] y) {{ a = Relu(x) y = Relu(a) }}"
MODELS = st.sampled_from([DOUBLE_NEG, SUM, TWO_RELUS])


def chain(length: int) -> GeneratedModel:
    """A chain of Relu, with a pair of Neg at its end."""
    names = ["x", *(f"v{index}" for index in range(length)), "p", "q"]
    kinds = ["Relu"] * length + ["Neg", "Neg"]
    nodes = " ".join(f"{b} = {kind}({a})" for a, b, kind in zip(names, names[1:], kinds, strict=False))
    model = parse_model(f"{HEAD} g (float[2] x) => (float[2] y) {{ {nodes} y = Relu(q) }}")
    return GeneratedModel(model, ({"x": np.array([1, -2], np.float32)},))


def test_right_passes_get_a_report():
    report = check_pass(planted.Right, models=MODELS, max_examples=12, transformations=TRANSFORMATIONS)
    models = report.examples["models"]
    assert 3 == models, "three different ones"
    assert (1, {"drop-double-neg": 1}) == (report.changed, dict(report.rewrites))
    assert {"equivalent": 3, "honest": 3, "idempotent": 3, "deterministic": 3, "unchanged-input": 3} == {
        law: count for law, count in report.laws.items() if not law.startswith("commutes")
    }
    assert 3 == report.laws["commutes-with-renaming"]
    assert report.skipped["commutes-with-inlining", "it has no functions"]
    assert report.compared
    assert str(report).startswith("pass 'right': 3 models (3 models), 1 changed, ")


@pytest.mark.parametrize(
    ("testable", "law"),
    [
        (planted.neg_to_abs, "equivalent"),
        (planted.RenamesOutput, "interface"),
        (planted.ChangesOpset, "interface"),
        (planted.Invalid, "valid"),
        (planted.LeavesBrokenGraph, "runs"),
        (planted.Fails, "runs"),
        (planted.HidesChange, "honest"),
        (planted.ClaimsChange, "honest"),
        (planted.MutatesWeights, "unchanged-input"),
        (planted.Nondeterministic, "deterministic"),
        (planted.OneAtATime, "idempotent"),
        (planted.LooksAtNames, "commutes-with-renaming"),
        (planted.WrongFromOpset20, "commutes-with-opset-upgrade"),
    ],
    ids=lambda item: getattr(item, "__name__", getattr(item, "name", item)),
)
def test_planted_passes_turn_it_red(testable, law):
    laws = None
    if testable is planted.HidesChange or testable is planted.MutatesWeights:
        laws = [law]  # others are broken too
    with pytest.raises(LawBroken) as caught:
        check_pass(
            testable,
            models=MODELS,
            max_examples=12,
            laws=laws,
            transformations=TRANSFORMATIONS,
            require_rewrites=False,
        )
    assert law == caught.value.law


def test_second_runs_are_held_to_what_is_declared():
    class Modest(planted.OneAtATime):
        name = "modest"
        idempotent = False

    report = check_pass(Modest, models=st.just(TWO_RELUS), max_examples=1, transformations=())
    assert {("idempotent", "it does not declare this law"): 1} == {
        key: count for key, count in report.skipped.items() if key[0] == "idempotent"
    }
    with pytest.raises(LawBroken, match="idempotent"):
        check_pass(Modest, models=st.just(TWO_RELUS), laws=["idempotent"], transformations=())
    repeated = check_pass(Pipeline.of(Fixpoint((Modest(),))), models=st.just(TWO_RELUS), transformations=())
    assert repeated.laws["idempotent"]


def test_shrinking_ends(monkeypatch):
    """A rule that was wrong on models of many nodes took Hypothesis minutes to shrink."""
    monkeypatch.setattr(checking, "_SHRINKING", -1.0)
    drawn: list[str] = []

    def wide(size: int) -> str:
        drawn.append(DOUBLE_NEG.replace("3]", f"{size}]"))
        return drawn[-1]

    with pytest.raises(LawBroken) as caught:
        check_pass(planted.neg_to_abs, models=st.integers(5, 30).map(wide))
    assert ("equivalent", parse_model(drawn[0])) == (caught.value.law, caught.value.model)
    assert 2 == len(drawn), "the one that failed, and one more at which the search ended"


def test_results_that_differ_from_run_to_run_turn_it_red():
    with pytest.raises(LawBroken, match="deterministic"):
        check_pass(planted.Nondeterministic, models=st.just(DOUBLE_NEG), laws=["deterministic"], transformations=())


def test_failures_are_shrunk():
    with pytest.raises(LawBroken) as caught:
        check_pass(planted.neg_to_abs, models=st.integers(0, 30).map(chain), max_examples=30)
    assert ["Neg", "Neg", "Relu"] == [node.op_type for node in caught.value.model.graph.node]


def test_slow_forms_are_tried_on_changed_models_and_on_a_fourth_of_the_others():
    report = check_pass(planted.Right, models=st.integers(1, 16).map(lambda n: DOUBLE_NEG.replace("3]", f"{n}]")))
    assert report.laws["commutes-with-opset-upgrade"] == sum(report.examples.values()), "each of them was changed"
    report = check_pass(
        planted.Right, models=st.integers(1, 16).map(lambda n: TWO_RELUS.replace("n]", f"{n}]")), require_rewrites=False
    )
    assert 1 <= report.laws["commutes-with-opset-upgrade"] <= 8
    assert 16 == sum(report.examples.values())


def test_rules_that_never_applied_are_no_proof():
    with pytest.raises(AssertionError, match="1 of 1 rules never applied to any of 2 models") as caught:
        check_pass(planted.Right, models=st.sampled_from([SUM, TWO_RELUS]), max_examples=8)
    assert "no model had the operator that it begins at" in str(caught.value)
    shared = DOUBLE_NEG.replace("(float[n, 3] y)", "(float[n, 3] y, float[n, 3] a)")
    with pytest.raises(AssertionError, match="'a' is a graph output"):
        check_pass(planted.Right, models=st.just(shared), max_examples=4)
    assert check_pass(planted.Right, models=st.just(SUM), max_examples=4, require_rewrites=False).examples


def test_passes_without_rules_must_change_something():
    with pytest.raises(AssertionError, match="changed none of 1 models"):
        check_pass(planted.OneAtATime, models=st.just(f"{HEAD} g (float[n] x) => (float[n] y) {{ y = Neg(x) }}"))


def test_models_are_drawn_for_each_rule():
    report = check_pass(planted.Right, max_examples=8, laws=["honest"], transformations=())
    assert ["matching drop-double-neg", "near misses of drop-double-neg", "models"] == list(report.examples)
    assert [5, 5, 4] == list(report.examples.values())
    assert 1 <= report.rewrites["drop-double-neg"]


class NoContexts(RewritePattern):
    """A rule that does not say for what graphs it is."""

    name = "no-contexts"
    roots = ("NoSuchOperator",)

    def match_and_rewrite(self, node, rw):
        return NoMatch("never")


def test_rules_for_which_no_model_can_be_drawn_are_counted():
    report = check_pass(NoContexts, max_examples=2, laws=["honest"], transformations=(), require_rewrites=False)
    assert {"models": 1} == report.examples
    assert {"matching no-contexts", "near misses of no-contexts"} == {where for where, _reason in report.skipped}


def test_names_of_laws_are_checked():
    with pytest.raises(ValueError, match="unknown law 'equal', expected some of equivalent, "):
        check_pass(planted.Right, models=MODELS, laws=["equal"])
