"""The command line as a process of its own: streams that are closed, narrow or full, names that are hostile, and signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import pytest
from onnx.parser import parse_model

from graphopt.data import digits_model

WEIRD = "y\x1b[31mé"
posix = pytest.mark.skipif(os.name != "posix", reason="descriptors and signals of POSIX")


def _run(
    *arguments: str | Path,
    env: dict[str, str] | None = None,
    before: Callable[[], None] | None = None,
    stdout: int = subprocess.PIPE,
) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "graphopt", *map(str, arguments)],
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        preexec_fn=before,
        timeout=120,
        check=False,
    )
    return done.returncode, (done.stdout or b"").decode(), done.stderr.decode()


@pytest.fixture
def weird(tmp_path: Path) -> Path:
    """A model whose output has a name with an escape sequence and a letter outside ASCII."""
    model = parse_model('<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[n] y) { y = Relu(x) }')
    model.graph.node[0].output[0] = model.graph.output[0].name = WEIRD
    path = tmp_path / "weird.onnx"
    onnx.save(model, path)
    return path


@posix
@pytest.mark.parametrize("descriptor", [0, 1, 2])
def test_a_closed_stream_is_no_error(descriptor: int) -> None:
    """As daemons and ``>&-`` leave it."""
    code, _, said = _run("inspect", digits_model(), before=lambda: os.close(descriptor))
    assert (0, "") == (code, said)


@posix
def test_an_error_that_nobody_can_read_is_still_exit_code_2() -> None:
    """Standard error is closed."""
    assert 2 == _run("inspect", "nowhere.onnx", before=lambda: os.close(2))[0]


@posix
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_behind_stdout_is_one_line() -> None:
    """What could not be written is said on stderr."""
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        code, _, said = _run("inspect", digits_model(), stdout=full)
    finally:
        os.close(full)
    assert (2, 1) == (code, said.count("\n"))
    assert "No space left" in said


@pytest.mark.parametrize("columns", ["0", "20", "x"])
def test_any_width_of_the_terminal_shows_the_table(columns: str) -> None:
    """A width of zero is no width."""
    code, shown, _ = _run("inspect", digits_model(), env={"COLUMNS": columns})
    assert (0, True) == (code, shown.startswith("model "))


def test_names_do_not_steer_the_terminal(weird: Path) -> None:
    """Control characters are shown, letters that the terminal lacks as well."""
    code, shown, _ = _run("inspect", weird, env={"PYTHONIOENCODING": "ascii"})
    assert 0 == code
    assert "\\x1b[31m\\xe9" in shown
    assert "\x1b" not in shown


def test_json_is_valid_in_every_encoding(weird: Path) -> None:
    """ASCII says the same."""
    code, shown, _ = _run("inspect", weird, "--json", env={"PYTHONIOENCODING": "ascii"})
    assert 0 == code
    assert [WEIRD] == [item["name"] for item in json.loads(shown)["outputs"]]


def test_no_command_shows_help_and_nothing_else() -> None:
    """Exit code 2, as for any incomplete command line."""
    code, shown, said = _run()
    assert (2, "") == (code, said)
    assert "optimize" in shown


def test_warnings_are_lines_that_quiet_silences(tmp_path: Path) -> None:
    """Of a group of passes that is told to stop before it has nothing left to do."""
    model = parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[n] y) { a = Identity(x) y = Relu(a) }'
    )
    path = tmp_path / "copies.onnx"
    onnx.save(model, path)
    passes = ("--passes", "fixpoint{max_rounds=1}(canonicalize)", "--no-check")
    code, _, said = _run("optimize", path, *passes)
    assert (0, True, 1) == (code, said.startswith("graphopt: warning: fixpoint(canonicalize) still"), said.count("\n"))
    assert (0, "") == _run("optimize", path, *passes, "--quiet")[::2]


def test_nothing_is_left_in_the_temporary_folder(tmp_path: Path) -> None:
    """Neither by graphopt nor by what it runs models with."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    assert 0 == _run("optimize", digits_model(), "-o", tmp_path / "out.onnx", env={"TMPDIR": str(temporary)})[0]
    assert [] == list(temporary.iterdir())


def slow_model(path: Path) -> Path:
    """A model that takes about a quarter of a second to run."""
    products = " ".join(f"a{i + 1} = MatMul(a{i}, w)" for i in range(6))
    model = parse_model(
        f'<ir_version: 8, opset_import: ["": 17]> g (float[1024,1024] a0) => (float[1024,1024] a6) {{ {products} }}'
    )
    weight = np.random.default_rng(0).normal(scale=1 / 32, size=(1024, 1024)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(model, path)
    return path


@posix
@pytest.mark.parametrize(
    ("number", "code", "line"),
    [(signal.SIGINT, 130, b"graphopt: interrupted\n"), (signal.SIGTERM, 143, b"graphopt: terminated\n")],
    ids=["interrupt", "termination"],
)
@pytest.mark.parametrize("group", [False, True], ids=["process", "terminal"])
def test_a_signal_leaves_nothing_behind(
    group: bool, number: signal.Signals, code: int, line: bytes, tmp_path: Path
) -> None:
    """Exit code 130 or 143; the old file is as it was. A terminal interrupts child processes, too."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    out = tmp_path / "out.onnx"
    out.write_bytes(b"old")
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "graphopt",
            "optimize",
            str(slow_model(tmp_path / "slow.onnx")),
            "--force",
            "-o",
            str(out),
        ],
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        while process.poll() is None and not list(temporary.glob("graphopt-check-*/*")):
            time.sleep(0.005)  # until the check has written a model, which it takes longer to run
        if group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        shown, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (code, b"", line) == (process.returncode, shown, said)
    assert ([], b"old") == (list(temporary.iterdir()), out.read_bytes())


def test_tables_have_no_blanks_at_the_ends_of_lines() -> None:
    """Where they are written to a file, or pasted from it."""
    _, shown, _ = _run("inspect", digits_model())
    assert [] == [line for line in shown.split("\n") if line != line.rstrip()]
