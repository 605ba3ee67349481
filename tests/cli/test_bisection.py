"""``graphopt bisect`` and ``graphopt replay``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from graphopt.cli import app
from graphopt.data import digits_model
from graphopt.plugin_manager import PluginManager
from tests.compiler import planting

runner = CliRunner(env={"COLUMNS": "160"})


@pytest.fixture(autouse=True)
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin with wrong passes."""

    def found(blocked: Sequence[str] = ()) -> PluginManager:
        return planting.plugins()

    monkeypatch.setattr("graphopt.cli.bisection.builtin_plugins", found)
    monkeypatch.setattr("graphopt.compiler.replaying.builtin_plugins", found)


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A file with a chain."""
    path = tmp_path / "chain.onnx"
    onnx.save(planting.chain(), path)
    return str(path)


def test_the_table_names_pass_rewrite_nodes_and_numbers(model: str, tmp_path: Path) -> None:
    """Exit code 1; and so does the replay of the folder."""
    folder = tmp_path / "case"
    shown = runner.invoke(app, ["bisect", model, "--passes", "O1,wrong-pattern", "-o", str(folder), "--seeds", "2"])
    assert (1, "") == (shown.exit_code, shown.stderr)
    for text in (
        "wrong-numbers: #2 exp-to-abs at 'f' (pass wrong-pattern of plugin 'acme')",
        "removed         Exp 'node_f'",
        "added           Abs 'node_f'",
        "original nodes  node_f",
        "before it       output 'y': identical",
        "with it         output 'y' at [",
        "without it      the whole result is right",
        "2 sets of inputs",
        f"graphopt replay {folder}",
    ):
        assert text in shown.stdout
    twice = runner.invoke(app, ["bisect", model, "--passes", "O1,wrong-pattern", "-o", str(folder), "--seeds", "2"])
    assert f"graphopt replay {folder}-2\n" in twice.stdout
    again = runner.invoke(app, ["replay", str(folder)])
    assert (1, "") == (again.exit_code, again.stderr)
    assert "fails again: wrong-numbers: output 'y'" in again.stdout


def test_json_has_the_same(model: str, tmp_path: Path) -> None:
    """One document, the same on every run; of the replay too."""
    arguments = ["bisect", model, "--passes", "wrong-rule", "--json", "--seed", "3"]
    one, two = (runner.invoke(app, arguments) for _ in range(2))
    assert (1, one.stdout) == (one.exit_code, two.stdout)
    found = json.loads(one.stdout)
    assert ("found", "drop-sqrt", "acme", 2, ["node_d"], 3) == (
        found["status"],
        found["blamed"]["rule"],
        found["blamed"]["plugin"],
        found["blamed"]["number"],
        found["blamed"]["origins"],
        found["seed"],
    )
    folder = tmp_path / "case"
    runner.invoke(app, [*arguments, "-o", str(folder)])
    replayed = json.loads(runner.invoke(app, ["replay", str(folder), "--json"]).stdout)
    assert (True, "wrong-numbers", []) == (replayed["again"], replayed["kind"], replayed["warnings"])


def test_a_right_result_is_exit_code_0() -> None:
    """And said so."""
    shown = runner.invoke(app, ["bisect", str(digits_model()), "--level", "O1", "--seeds", "1"])
    assert 0 == shown.exit_code
    assert "nothing is wrong" in shown.stdout
    assert ", 1 set of inputs\n" in shown.stdout
    quiet = runner.invoke(app, ["bisect", str(digits_model()), "--level", "O0", "--seeds", "1", "--quiet"])
    assert (0, "") == (quiet.exit_code, quiet.stdout)


def test_a_failure_of_another_kind_is_not_called_right(model: str) -> None:
    """Nothing of the kind was found, but something is wrong."""
    shown = runner.invoke(app, ["bisect", model, "--passes", "wrong-rule", "--kind", "exception"])
    assert 0 == shown.exit_code
    assert "nothing of that kind; the result fails in another way: wrong-numbers" in shown.stdout
    assert "nothing is wrong" not in shown.stdout


def test_pipeline_files_inputs_and_disabled_rules_are_followed(model: str, tmp_path: Path) -> None:
    """As in optimize."""
    (tmp_path / "p.toml").write_text('passes = ["wrong-rule", "wrong-pattern"]\n', encoding="utf-8")
    np.savez(tmp_path / "zeros.npz", x=np.ones((1, 4), np.float32))
    np.savez(tmp_path / "more.npz", x=np.full((2, 4), 5, np.float32))
    command = ["bisect", model, "--pipeline", str(tmp_path / "p.toml"), "--disable", "exp-to-abs", "--json"]
    one = runner.invoke(app, [*command, "--inputs", str(tmp_path / "zeros.npz")])
    assert (0, 1) == (one.exit_code, json.loads(one.stdout)["samples"])  # the square root of one is one
    both = runner.invoke(
        app, [*command, "--inputs", str(tmp_path / "zeros.npz"), "--inputs", str(tmp_path / "more.npz")]
    )
    found = json.loads(both.stdout)
    assert (1, 2, "drop-sqrt") == (both.exit_code, found["samples"], found["blamed"]["rule"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["bisect", "none.onnx"], "'none.onnx' cannot be read"),
        (["bisect", str(digits_model()), "--passes", "nothing"], "nothing"),
        (["bisect", str(digits_model()), "--kind", "slow"], "there is no kind of failure 'slow'"),
        (["bisect", str(digits_model()), "--level", "O1", "--passes", "O2"], "each say what to run"),
        (["bisect", str(digits_model()), "--inputs", "none.npz"], "none.npz"),
        (["bisect", str(digits_model()), "--rtol", "inf"], "--rtol is inf, expected a finite number"),
        (["bisect", str(digits_model()), "--seeds", "100000000"], "less than or equal to 1000"),
        (["replay", "none"], "can't be read"),
        (["bisect", str(digits_model()), "-o", str(digits_model())], "is a file, expected a folder"),
        (["optimize", str(digits_model()), "--reproducer", str(digits_model())], "is a file, expected a folder"),
        (["bisect", str(digits_model()), "-o", str(digits_model() / "x")], "cannot be written: Not a directory"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: list[str], expected: str) -> None:
    """On stderr."""
    shown = runner.invoke(app, arguments)
    assert (2, "") == (shown.exit_code, shown.stdout)
    assert expected in shown.stderr
    assert 1 == shown.stderr.count("\n")


def test_a_failure_that_is_gone_is_exit_code_0(model: str, tmp_path: Path) -> None:
    """The folder is read as it is."""
    folder = tmp_path / "case"
    runner.invoke(app, ["bisect", model, "--passes", "wrong-rule", "-o", str(folder)])
    record = json.loads((folder / "reproducer.json").read_text("utf-8"))
    record["pipeline"] = "canonicalize"
    record["versions"]["onnx"] = "0.1"
    (folder / "reproducer.json").write_text(json.dumps(record), encoding="utf-8")
    shown = runner.invoke(app, ["replay", str(folder)])
    assert 0 == shown.exit_code
    assert "does not fail any more (it was: wrong-numbers)" in shown.stdout
    assert f"warning: onnx is {onnx.__version__}, was 0.1" in shown.stdout
