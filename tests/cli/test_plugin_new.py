"""``graphopt plugin new`` writes a package and says where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from graphopt.cli import app

runner = CliRunner(env={"COLUMNS": "200"})


def test_files_and_next_steps_are_shown(tmp_path: Path) -> None:
    """The command that comes next can be pasted."""
    shown = runner.invoke(app, ["plugin", "new", "graphopt-mychip", "--into", str(tmp_path)])
    assert 0 == shown.exit_code
    folder = tmp_path / "graphopt-mychip"
    for path in folder.rglob("*"):
        assert path.is_dir() or str(path) in shown.stdout
    assert f"next: cd {folder} && pip install -e '.[test]' && pytest" in shown.stdout


def test_machines_are_told_the_same(tmp_path: Path) -> None:
    """As one JSON document."""
    shown = runner.invoke(app, ["plugin", "new", "graphopt-mychip", "--into", str(tmp_path), "--json"])
    told = json.loads(shown.stdout)
    assert str(tmp_path / "graphopt-mychip") == told["folder"]
    assert all(Path(path).is_file() for path in told["files"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nwe", "graphopt-x"], "graphopt plugin has no action 'nwe'; did you mean 'new'? there is: new"),
        (["new", "no name"], "'no name' is no name for a package"),
        (["new"], "missing argument 'NAME'; see graphopt plugin --help"),
        (["new", "graphopt-x", "--into", __file__], "is a file; choose a folder"),
        (["new", "graphopt-x", "--into", "/no/such/folder"], "the folder '/no/such/folder' does not exist"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: list[str], message: str) -> None:
    """With exit code 2."""
    shown = runner.invoke(app, ["plugin", *arguments])
    assert (2, 1) == (shown.exit_code, shown.stderr.count("\n"))
    assert message in shown.stderr
