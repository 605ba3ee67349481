"""Whatever file it is given, the command line answers with one line, not with a traceback."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from graphopt.cli import app
from graphopt.data import digits_model

runner = CliRunner(env={"COLUMNS": "160"})
GOOD = digits_model().read_bytes()
COMMANDS = (["optimize", "-o"], ["inspect"], ["run"], ["bench"])


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(GOOD[: len(GOOD) // 2], id="cut-short"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(200), id="a-picture"),
        pytest.param(b"ir_version: 8\ngraph {\n}\n", id="text"),
        pytest.param(b"\x08\x08", id="no-graph"),
    ],
)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_broken_files_are_one_line(content: bytes, command: list[str], tmp_path: Path) -> None:
    """Exit code 2, the name of the file, and nothing on stdout or in the folder."""
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    more = ["-o", str(tmp_path / "out.onnx")] if "-o" in command else []
    shown = runner.invoke(app, [command[0], str(path), *more])
    assert (2, "") == (shown.exit_code, shown.stdout)
    assert 1 == shown.stderr.count("\n")
    assert "bad.onnx" in shown.stderr
    assert [path] == list(tmp_path.iterdir())


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    """One line as well."""
    shown = runner.invoke(app, ["optimize", str(tmp_path)])
    assert (2, 1) == (shown.exit_code, shown.stderr.count("\n"))


@pytest.mark.parametrize("seed", range(24))
def test_flipped_bytes_never_end_in_a_traceback(seed: int, tmp_path: Path) -> None:
    """A damaged model is optimized, or refused in one line."""
    draw = random.Random(seed)
    damaged = bytearray(GOOD)
    for _ in range(draw.choice((1, 3, 16))):
        damaged[draw.randrange(12_000 if seed % 2 else len(damaged))] = draw.randrange(256)
    path = tmp_path / "damaged.onnx"
    path.write_bytes(damaged)
    for command in (["optimize", str(path), "--no-check"], ["inspect", str(path)]):
        shown = runner.invoke(app, command)
        assert shown.exit_code in (0, 2), shown.stderr
        assert (shown.exit_code == 2) == (shown.stderr.count("\n") == 1)
