"""The pytest plugin, in test runs of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import onnx
import pytest
from hypothesis import settings

import graphopt.testing.failures  # the runs are in this process, and pytester forgets what they import
import graphopt.testing.oracles  # noqa: F401  # so the classes must be there before, once
from graphopt import compiler

pytest_plugins = ["pytester"]

PASSES = '''
import pytest
from graphopt import RewritePass, any_, op, rewrite
from hypothesis import strategies as st

HEAD = '<ir_version: 8, opset_import: ["": 17]>'
MODEL = HEAD + "g (float[2] x) => (float[2] y) { a = Neg(x) b = Neg(a) y = Relu(b) }"
ONE = st.just(MODEL)

@rewrite(op.Neg(op.Neg(any_("x"))))
def right_rule(m, rw):
    return m["x"]

@rewrite(op.Neg(op.Neg(any_("x"))))
def wrong_rule(m, rw):
    return rw.new("Abs", m["x"])

class Right(RewritePass):
    """Right."""
    name = "right"
    rules = (right_rule,)

class Wrong(RewritePass):
    """Wrong."""
    name = "wrong"
    rules = (wrong_rule,)
'''
GOLDEN = """== pipeline
fold-constants
== before
<ir_version: 8, opset_import: ["": 17]>
g (float[n] x) => (float[n] y) { a = Neg(x) y = Neg(a) }
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Runs a test file in this process; the profile is as before afterwards."""
    monkeypatch.delenv("GRAPHOPT_PROFILE", raising=False)
    installed = any(
        entry.value == "graphopt.testing.pytest_plugin" for entry in metadata.entry_points(group="pytest11")
    )
    plugin = () if installed else ("-p", "graphopt.testing.pytest_plugin")
    before = settings.default

    def run(text, *arguments):
        pytester.makepyfile(PASSES + text)
        return pytester.runpytest_inprocess(*plugin, "-p", "no:randomly", "-p", "no:xdist", *arguments)

    yield run
    assert before is not None
    settings.register_profile("before", before)
    settings.load_profile("before")


def test_importing_the_plugin_imports_nothing_heavy():
    code = (
        "import sys, graphopt.testing.pytest_plugin\n"
        "print([name for name in ('numpy', 'onnx', 'onnxruntime', 'hypothesis', 'msgspec') if name in sys.modules])"
    )
    assert "[]\n" == subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_the_plugin_is_an_entry_point_of_the_package():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"graphopt": "graphopt.testing.pytest_plugin"} == project["entry-points"]["pytest11"]


def test_marked_tests_run_once_for_each_pass_and_get_its_report(run):
    result = run(
        """
@pytest.mark.graphopt_pass(Right, "fold-constants", models=ONE, max_examples=5, require_rewrites=False)
def test_laws(graphopt_report, graphopt_pass):
    assert sum(graphopt_report.examples.values()) == 1
    assert graphopt_pass is Right or graphopt_pass == "fold-constants"

@pytest.mark.graphopt_pass(Right())
def test_pass(graphopt_pass):
    assert graphopt_pass == Right()
""",
        "-v",
        "--strict-markers",
    )
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines_random(["*test_laws?right?*", "*test_laws?fold-constants?*", "*test_pass?right?*"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "def test_x(graphopt_pass): pass",
            "*test_x: fixture 'graphopt_pass' needs @pytest.mark.graphopt_pass(...) with a pass*",
        ),
        (
            "@pytest.mark.graphopt_pass('fold-constants')\ndef test_x(): pass",
            "*has neither the argument graphopt_report nor graphopt_pass*",
        ),
        (
            "@pytest.mark.graphopt_pass()\ndef test_x(graphopt_pass): pass",
            "*is marked graphopt_pass, but names no pass*",
        ),
    ],
)
def test_wrong_use_of_the_marker_is_told(run, text, message):
    result = run(text)
    assert result.ret != 0
    lines = [*result.outlines, *result.errlines]
    assert any(message.strip("*") in line for line in lines), lines


def test_broken_laws_are_saved_with_a_command_that_replays_them(run, pytester):
    result = run(
        """
@pytest.mark.graphopt_pass(Wrong, models=ONE, max_examples=5)
def test_laws(graphopt_report):
    pass
"""
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*model and inputs: *", "to see it again: graphopt replay *.graphopt-failures* --trust"]
    )
    (folder,) = (path for path in (pytester.path / ".graphopt-failures").iterdir() if path.is_dir())
    assert {"README", "inputs.npz", "original.onnx", "optimized.onnx", "reproducer.json"} == {
        p.name for p in folder.iterdir()
    }
    assert ["Neg", "Neg", "Relu"] == [node.op_type for node in onnx.load(folder / "original.onnx").graph.node]
    record = json.loads((folder / "reproducer.json").read_text())
    assert ("wrong-numbers", "wrong", "wrong-rule") == (
        record["kind"],
        record["pipeline"],
        record["application"]["rule"],
    )
    readme = (folder / "README").read_text()
    assert "pass 'wrong' (exact) breaks the law 'equivalent'" in readme
    assert "    graphopt replay " in readme
    assert "    pytest 'test_broken_laws" in readme
    again = compiler.replay(folder, trust=True)
    assert (True, "wrong-numbers") == (again.again, again.kind)
    assert "*\n" == (folder.parent / ".gitignore").read_text()


def test_failures_of_later_runs_take_the_place_of_earlier_ones(run, pytester):
    text = """
from graphopt.testing import assert_equivalent, assert_idempotent

def test_rule():
    assert_equivalent(wrong_rule, MODEL)

def test_function():
    def negate(proto):
        copy = type(proto)()
        copy.CopyFrom(proto)
        copy.graph.node[-1].op_type = "Neg"
        return copy
    assert_equivalent(negate, MODEL)
"""
    for _ in range(2):
        result = run(text, "--graphopt-failures=saved")
        result.assert_outcomes(failed=2)
    folders = sorted(path.name for path in (pytester.path / "saved").iterdir() if path.is_dir())
    assert 2 == len(folders), folders
    result.stdout.fnmatch_lines_random(
        ["to see it again: graphopt replay *-test-rule-equivalent --trust", "to see it again: pytest *::test_function"],
    )
    again = compiler.replay(pytester.path / "saved" / next(name for name in folders if "test-rule" in name), trust=True)
    assert again.again


def test_laws_that_replay_would_not_see_are_shown_by_the_test_itself(run, pytester):
    result = run(
        """
from graphopt.testing import assert_becomes, assert_equivalent, assert_idempotent, assert_no_rewrite
from graphopt import const

@rewrite(op.Mul(op.Mul(any_("x"), const("a")), const("b")))
def merge(m, rw):
    return rw.new("Mul", m["x"], rw.constant(m.array("a") * m.array("b")))

def test_last_bit():
    text = HEAD + "g (float[40] x) => (float[40] y) <float p = {0.3}, float q = {0.7}> { a = Mul(x, p) y = Mul(a, q) }"
    assert_equivalent(merge, text)

def test_guard():
    assert_no_rewrite(right_rule, MODEL)
"""
    )
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines_random(
        ["to see it again: pytest *::test_last_bit", "to see it again: pytest *::test_guard"]
    )
    saved = {
        path.name.rpartition("-test-")[2] for path in (pytester.path / ".graphopt-failures").iterdir() if path.is_dir()
    }
    assert {"last-bit-equivalent", "guard-no-rewrite"} == saved


def test_saving_can_be_turned_off(run, pytester):
    run(
        "from graphopt.testing import assert_equivalent\ndef test_rule():\n    assert_equivalent(wrong_rule, MODEL)",
        "--graphopt-failures=",
    )
    assert not (pytester.path / ".graphopt-failures").exists()


def test_golden_files_are_found_beside_the_test_and_updated(run, pytester):
    (pytester.path / "neg.golden").write_text(GOLDEN)
    text = "def test_golden(graphopt_golden):\n    graphopt_golden('neg.golden')\n"
    result = run(text)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*has no result yet; run pytest --update-golden*"])
    run(text, "--update-golden").assert_outcomes(passed=1)
    assert "== after\ngraphopt-ir 1\n" in (pytester.path / "neg.golden").read_text()
    run(text).assert_outcomes(passed=1)


PROFILE = """
from hypothesis import settings
def test_profile():
    assert (settings().max_examples, settings().derandomize, settings().deadline) == ({}, {}, None)
"""


@pytest.mark.parametrize(
    ("name", "examples", "derandomized"),
    [("ci", 100, True), ("graphopt-ci", 100, True), ("nightly", 2000, False), ("graphopt-nightly", 2000, False)],
)
def test_profiles(run, name, examples, derandomized):
    run(PROFILE.format(examples, derandomized), f"--graphopt-profile={name}").assert_outcomes(passed=1)


def test_profiles_of_others_are_not_replaced(run, pytester, monkeypatch):
    pytester.makeconftest(
        "from hypothesis import settings\n"
        "settings.register_profile('nightly', max_examples=7, deadline=None, derandomize=True)\n"
    )
    nightly = settings.get_profile("nightly")
    monkeypatch.setenv("GRAPHOPT_PROFILE", "nightly")
    run(PROFILE.format(7, True)).assert_outcomes(passed=1)
    settings.register_profile("nightly", nightly)


def test_unknown_profiles_are_named(run):
    result = run("def test_x(): pass", "--graphopt-profile=weekly")
    assert pytest.ExitCode.USAGE_ERROR == result.ret
    assert any("there is no Hypothesis profile 'weekly'; there are ci, nightly" in line for line in result.errlines)


def test_without_an_option_the_profile_stays(run):
    assert "GRAPHOPT_PROFILE" not in os.environ
    before = settings().max_examples
    run(f"from hypothesis import settings\ndef test_x(): assert settings().max_examples == {before}").assert_outcomes(
        passed=1
    )
