"""The command line as a whole: help, exit codes, errors in one line, a fast start."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from graphopt.cli import app
from graphopt.cli.group import COMMANDS
from graphopt.data import digits_model

runner = CliRunner(env={"COLUMNS": "160"})
MODEL = str(digits_model())
GRAPHOPT = [sys.executable, "-m", "graphopt"]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_the_docstring_says(name: str) -> None:
    """The table of commands, which help reads, and the implementations agree."""
    doc, place = COMMANDS[name]
    module, _, function = place.partition(":")
    implementation = getattr(importlib.import_module(f"graphopt.cli.{module}"), function)
    assert doc == implementation.__doc__.splitlines()[0]
    shown = runner.invoke(app, [name, "--help"])
    assert 0 == shown.exit_code
    assert doc.split(":")[0] in " ".join(shown.stdout.split())


def test_every_command_writes_json() -> None:
    """``--json`` is there on each command."""
    for name in COMMANDS:
        shown = runner.invoke(app, [name, "--help"], env={"COLUMNS": "200"})
        assert "--json" in shown.stdout, name


def test_help_lists_all_commands() -> None:
    """``graphopt --help`` names each command, and so does ``graphopt`` alone."""
    shown = runner.invoke(app, ["--help"])
    assert 0 == shown.exit_code
    assert all(f" {name} " in shown.stdout for name in COMMANDS)
    assert "optimize" in runner.invoke(app, []).output


def test_version_is_that_of_the_package() -> None:
    """``--version`` prints one line."""
    from importlib.metadata import version

    assert f"graphopt {version('graphopt')}\n" == runner.invoke(app, ["--version"]).stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["optimise"], "graphopt: no such command 'optimise'; did you mean 'optimize'? see graphopt --help\n"),
        (["inspect"], "graphopt: missing argument 'MODEL'; see graphopt inspect --help\n"),
        (["inspect", "x.onnx", "--xyzzy"], "graphopt: no such option: --xyzzy; see graphopt inspect --help\n"),
        (
            ["inspect", str(digits_model()), "--dim", "batch"],
            "graphopt: --dim 'batch' is not understood; expected NAME=SIZE with a whole number, such as batch=1\n",
        ),
    ],
)
def test_usage_errors_are_one_line_and_exit_code_2(arguments: list[str], expected: str) -> None:
    """What is wrong, and where help is."""
    shown = runner.invoke(app, arguments)
    assert (2, "", expected) == (shown.exit_code, shown.stdout, shown.stderr)


def test_a_bug_is_one_line_and_exit_code_70(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that graphopt does not know names itself a bug and says how to see more; --debug shows it."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("seven of\nnine")

    monkeypatch.setattr("graphopt.cli.inspection.summarize", broken)
    shown = runner.invoke(app, ["inspect", MODEL])
    assert 70 == shown.exit_code
    assert (
        f"graphopt: ZeroDivisionError: seven of (this is a bug in graphopt; graphopt --debug inspect {MODEL} shows the traceback)\n"
        == shown.stderr
    )
    assert isinstance(runner.invoke(app, ["--debug", "inspect", MODEL]).exception, ZeroDivisionError)


def test_interrupt_is_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends a command without a traceback."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("graphopt.cli.inspection.summarize", interrupted)
    assert 130 == runner.invoke(app, ["inspect", MODEL]).exit_code


def test_a_closed_pipe_is_no_error() -> None:
    """``graphopt inspect MODEL | head -1`` ends quietly."""
    command = [*GRAPHOPT, "inspect", str(digits_model()), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert b"" == process.stderr.read()
    assert 0 == process.returncode


def test_help_imports_nothing_heavy() -> None:
    """The first thing that people type answers at once: no numpy, onnx or onnxruntime behind it."""
    program = (
        "import sys; from typer.testing import CliRunner; from graphopt.cli import app; "
        "shown = CliRunner().invoke(app, ['--help']); assert shown.exit_code == 0, shown.output; "
        "print(*sorted({'numpy', 'onnx', 'onnxruntime', 'networkx', 'msgspec'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=os.environ, check=False)
    assert ("\n", "") == (done.stdout, done.stderr)


def test_optimizing_leaves_the_runtime_to_a_child(tmp_path: Path) -> None:
    """ONNX Runtime and its memory stay out of the process that optimizes, with the check and without."""
    program = (
        "import sys; from typer.testing import CliRunner; from graphopt.cli import app; "
        f"shown = CliRunner().invoke(app, ['optimize', {MODEL!r}, '-o', {str(tmp_path / 'out.onnx')!r}]); "
        "assert shown.exit_code == 0, shown.output; print('onnxruntime' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ("False\n", "") == (done.stdout, done.stderr)


def test_completion_knows_commands_and_options(tmp_path: Path) -> None:
    """Shell completion offers commands by prefix, and the options of a command."""
    environment = os.environ | {"_GRAPHOPT_COMPLETE": "complete_bash", "HOME": str(tmp_path)}

    def offered(words: str, index: int) -> set[str]:
        variables = environment | {"COMP_WORDS": words, "COMP_CWORD": str(index)}
        program = "from graphopt.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=variables, check=False
        )
        return set(done.stdout.split())

    assert {"inspect"} == offered("graphopt ins", 1)
    assert {"--dim", "--json"} <= offered("graphopt inspect --", 2)
