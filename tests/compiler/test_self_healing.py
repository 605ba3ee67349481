"""What a plugin does wrong is found, left out and named, and the model that is written is right."""

from __future__ import annotations

import numpy as np
import pytest

import graphopt
from graphopt.compiler import optimize, replay
from graphopt.compiler.checker import Checker
from graphopt.errors import PassError
from graphopt.runtime import OrtRunner
from graphopt.verify import Verdict
from tests.compiler import planting

CASES = [
    ("wrong-rule", "drop-sqrt", "wrong-numbers"),
    ("wrong-pattern", "exp-to-abs", "wrong-numbers"),
    ("invalid-rule", "use-missing-operator", "invalid-model"),
    ("raising-rule", "raise-index-error", "exception"),
    ("wrong-pass", "wrong-pass", "wrong-numbers"),
    ("silent-pass", "silent-pass", "wrong-numbers"),
    ("broken-graph", "broken-graph", "invalid-model"),
    ("raising-pass", "raising-pass", "exception"),
]


def outputs(model, x):
    with OrtRunner(model) as runner:
        return runner.run({"x": x})["y"]


@pytest.mark.parametrize(("name", "rule", "kind"), CASES)
def test_the_result_is_right_and_the_culprit_is_named(name, rule, kind, tmp_path):
    """The note names rule, pass and plugin; what is left out is what is wrong; the folder shows it again."""
    result = optimize(
        planting.chain(),
        pipeline=f"{name},canonicalize",
        plugins=planting.plugins(),
        reproducer=tmp_path / "again",
    )
    x = np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_allclose(outputs(result.proto, x), outputs(planting.chain(), x), rtol=1e-6)
    assert result.report.verdict is not None
    assert result.report.verdict.ok
    assert all(rule in text and f"pass {name} of plugin 'acme'" in text for text in result.report.skipped)
    assert any("left out, because" in note and "graphopt replay" in note for note in result.report.notes)
    if rule not in (name, "raise-index-error"):  # the right rule of the same pass was applied
        assert sum(node.op_type == "Neg" for node in result.proto.graph.node) == 0
    again = replay(result.report.reproducer, plugins=planting.plugins())
    assert (True, kind, kind) == (again.again, again.recorded, again.kind)


def test_each_wrong_site_is_left_out():
    """Two square roots, two wrong rewrites."""
    result = optimize(planting.chain(), pipeline="wrong-rule", plugins=planting.plugins())
    assert ["#2 drop-sqrt at 'd'", "#2 drop-sqrt at 'e'"] == [text.partition(" (")[0] for text in result.report.skipped]


def test_a_rule_that_is_wrong_everywhere_is_left_out_as_a_whole():
    """After some sites the rest is not tried one by one."""
    body = " ".join(f"v{index + 1} = Sqrt(v{index})" for index in range(12))
    model = planting.parse_model(planting.HEAD + "{ v0 = Exp(x) " + body + " y = Relu(v12) }")
    result = optimize(model, pipeline="wrong-rule", plugins=planting.plugins())
    assert result.report.verdict is not None
    assert result.report.verdict.ok
    assert 6 == len(result.report.skipped)
    assert "and all other places" in result.report.skipped[-1]


def test_several_culprits_of_several_kinds_are_left_out():
    """One after the other."""
    result = optimize(
        planting.chain(),
        pipeline="raising-rule,silent-pass,invalid-rule,wrong-rule",
        plugins=planting.plugins(),
    )
    assert result.report.verdict is not None
    assert result.report.verdict.ok
    found = " ".join(result.report.skipped)
    assert all(name in found for name in ("raise-index-error", "silent-pass", "use-missing-operator", "drop-sqrt"))


def test_a_result_that_crashes_its_runtime_is_left_out(monkeypatch: pytest.MonkeyPatch):
    """The crash of the child is a verdict like others."""
    real = Checker.check

    def check(self, model, numerics):
        if any(node.op == "Abs" and node.name == "node_f" for node in model.graph.nodes):
            return Verdict("failed", "the result crashes its runtime: SIGSEGV", failure="crash")
        return real(self, model, numerics)

    monkeypatch.setattr(Checker, "check", check)
    result = optimize(planting.chain(), pipeline="wrong-pattern", plugins=planting.plugins())
    assert ["exp-to-abs" in text for text in result.report.skipped] == [True]
    found = graphopt.bisect(planting.chain(), pipeline="wrong-pattern", plugins=planting.plugins())
    assert found.blamed is not None
    assert ("crash", "exp-to-abs") == (found.blamed.kind, found.blamed.rule)


@pytest.mark.parametrize("options", [{"check": False}, {"verify_each": True}])
@pytest.mark.parametrize("name", ["raising-rule", "raising-pass"])
def test_without_the_check_an_exception_is_an_error_that_names_the_plugin(name, options):
    """So it is with verify_each, which asks for errors."""
    with pytest.raises(PassError, match=name) as caught:
        optimize(planting.chain(), pipeline=name, plugins=planting.plugins(), **options)
    assert "plugin 'acme'" in caught.value.__notes__[-1]
    assert name == caught.value.pass_name


def test_an_exception_in_a_pass_of_graphopt_is_an_error(monkeypatch: pytest.MonkeyPatch):
    """It is a bug to report, not to hide."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError("no such luck")

    monkeypatch.setattr("graphopt.transforms.shape_folding.FoldShapes.run", broken)
    with pytest.raises(PassError, match="fold-shapes"):
        optimize(planting.chain(), pipeline="wrong-rule,fold-shapes", plugins=planting.plugins())
