"""Arguments that cannot be meant are refused before any work, in words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import graphopt
from graphopt.data import digits_model
from graphopt.errors import ExecutionError, ModelError, OutputError, PipelineError
from graphopt.transforms.canonicalize import Canonicalize

#: What is passed here on purpose is not what the types say.
call: Any = graphopt


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"level": 2}, "level is 2 (int), expected the name of a level"),
        ({"target": None}, "target is None (NoneType), expected the name of a backend"),
        ({"pipeline": ["canonicalize"]}, "pipeline is ['canonicalize'] (list), expected a Pipeline or its text"),
        ({"options": {"fold-constants": 3}}, "options of pass 'fold-constants' is 3 (int), expected a mapping"),
        ({"options": [1]}, "options is [1] (list), expected a mapping"),
        ({"seed": 1.5}, "seed is 1.5 (float), expected a whole number"),
        ({"disabled": "fold-constants"}, "disabled is 'fold-constants', expected a list of names"),
        ({"instrumentations": [3]}, "an instrumentation is 3 (int), expected an instance"),
        ({"bisect_limit": "all"}, "bisect_limit is 'all' (str), expected a whole number"),
        ({"plugins": 3}, "plugins is 3 (int), expected a PluginManager"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_types_say_what_was_expected(argument: dict[str, object], message: str) -> None:
    """And name the argument."""
    with pytest.raises(TypeError) as caught:
        call.optimize(digits_model(), check=False, **argument)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"seed": -1}, "the seed is -1"),
        ({"bisect_limit": -1}, "the bisect limit is -1"),
        (
            {"disabled": ["fold-constant"]},
            "no pass or rule 'fold-constant' to leave out; did you mean 'fold-constants'?",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_values_are_errors_of_graphopt(argument: dict[str, object], message: str) -> None:
    """As at the command line."""
    with pytest.raises(PipelineError) as caught:
        call.optimize(digits_model(), check=False, **argument)
    assert message in str(caught.value)


@pytest.mark.parametrize("function", ["lower", "to_graphsurgeon"])
def test_what_takes_ir_says_how_to_make_it(function: str) -> None:
    """A path is the usual mistake."""
    with pytest.raises(TypeError, match=r"expected IR; graphopt.lift makes it"):
        getattr(call, function)("model.onnx")


def test_a_class_in_a_pipeline_is_told_from_a_pass() -> None:
    """The parentheses are easy to forget."""
    with pytest.raises(TypeError, match=r"expected a pass or Fixpoint; make one of it with \(\)"):
        call.Pipeline.of(Canonicalize)


@pytest.mark.parametrize("argument", [{"rtol": -1}, {"samples": 0}, {"seed": -1}, {"rtol": float("nan")}])
def test_numbers_of_a_comparison_must_make_sense(argument: dict[str, Any]) -> None:
    """A tolerance below zero would find every model wrong, or none."""
    with pytest.raises(ExecutionError, match=r"is (-1|0|nan), expected [01] or more"):
        graphopt.compare(digits_model(), digits_model(), **argument)


def test_a_path_with_a_null_byte_is_refused() -> None:
    """The system would answer with a ValueError."""
    with pytest.raises(OutputError, match="null byte"):
        graphopt.optimize(digits_model(), check=False).save("a\0b")


def test_models_that_cannot_be_opened_leave_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor a warning about one."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ModelError):
        graphopt.Session(None)
    with pytest.raises(ModelError):
        graphopt.compare(digits_model().read_bytes(), None)
    assert [] == list(tmp_path.iterdir())


SCRIPTS = {
    "warnings-are-errors": (
        ["-W", "error", "-X", "dev"],
        "import graphopt, graphopt.data as d; assert graphopt.optimize(d.digits_model()).report.verdict.ok",
    ),
    "without-asserts": (
        ["-O"],
        "import sys, graphopt, graphopt.data as d; sys.exit(not graphopt.optimize(d.digits_model()).report.verdict.ok)",
    ),
    "in-a-thread": (
        [],
        (
            "import graphopt, graphopt.data as d, sys\n"
            "from concurrent.futures import ThreadPoolExecutor\n"
            "with ThreadPoolExecutor(2) as pool:\n"
            "    made = list(pool.map(lambda level: graphopt.optimize(d.digits_model(), level=level), ['O1', 'O2', 'O3']))\n"
            "sys.exit(not all(result.report.verdict.ok for result in made))"
        ),
    ),
    "in-a-spawned-process": (
        [],
        (
            "import sys, multiprocessing, graphopt, graphopt.data as d\n"
            "pool = multiprocessing.get_context('spawn').Pool(1)\n"
            "found = pool.apply(graphopt.compare, (d.digits_model(), d.digits_model()))\n"
            "pool.close(); pool.join()\n"
            "sys.exit(not found.ok)"
        ),
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_it_works_in_any_surroundings(name: str, tmp_path: Path) -> None:
    """None of these has a main file. Nothing is said, nothing is left."""
    options, script = SCRIPTS[name]
    done = subprocess.run(
        [sys.executable, *options, "-c", script],
        env={**os.environ, "TMPDIR": str(tmp_path), "ORT_DISABLE_TELEMETRY": "1"},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert (0, b"", b"") == (done.returncode, done.stdout, done.stderr)
    assert [] == list(tmp_path.iterdir())
