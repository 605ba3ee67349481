"""A command tells whether a model fails."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from graphopt.errors import ExecutionError
from graphopt.verify.reduction import CommandCheck
from tests.verify.reduction.searching import model_of, numbers

MODEL = model_of("g (float[2] x) => (float[2] y) { y = Neg(x) }")
FEEDS = ({"x": numbers(2)},)


def python(program: str, *words: str) -> str:
    """A command that runs a program."""
    return shlex.join([sys.executable, "-c", program, *words])


def outcome(command: str, **options) -> str | None:
    """What a check says of the model."""
    with CommandCheck(command, **options) as check:
        return check(MODEL, FEEDS)


def test_exit_code_zero_means_that_it_still_fails() -> None:
    """Any other code is another end."""
    assert "the command exits with 0" == outcome(python("pass"))
    assert outcome(python("raise SystemExit(1)")) is None
    assert outcome(python("raise SystemExit(139)")) is None


def test_other_ends_can_be_what_is_looked_for() -> None:
    """A code, and that apart from others; a signal; a timeout."""
    assert "the command exits with 3" == outcome(python("raise SystemExit(3)"), fails_with=3)
    assert outcome(python("raise SystemExit(4)"), fails_with="3") is None
    crash = python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert "the command is killed by a signal" == outcome(crash, fails_with="crash")
    assert outcome(crash) is None
    sleep = python("import time; time.sleep(60)")
    assert "the command takes too long" == outcome(sleep, fails_with="timeout", timeout=0.3)
    assert outcome(sleep, timeout=0.3) is None
    assert outcome(python("pass"), fails_with="crash") is None


def test_what_a_command_started_ends_with_it(tmp_path: Path) -> None:
    """A shell in between, whose child would go on writing."""
    place = tmp_path / "late"
    child = python(f"import time; time.sleep(1.5); open({str(place)!r}, 'w')")
    assert "the command takes too long" == outcome(shlex.join(["sh", "-c", child]), fails_with="timeout", timeout=0.3)
    assert outcome(python("import time; time.sleep(1.7)")) is not None
    assert not place.exists()


def test_model_and_inputs_reach_the_command() -> None:
    """The model stands for {}, or comes last; each set of inputs is a word."""
    program = (
        "import sys, numpy, onnx; assert onnx.load(sys.argv[1]).graph.node[0].op_type == 'Neg'; "
        "assert [numpy.load(path)['x'].tolist() for path in sys.argv[2:]] == [[1, 2]]"
    )
    assert outcome(python(program, "{}", "{inputs}")) is not None
    assert outcome(python("import sys, onnx; onnx.load(sys.argv[1])")) is not None
    check = CommandCheck("tool --model={} {inputs}")
    assert ["tool", "--model=a b.onnx", "1.npz", "2.npz"] == check.words(
        Path("a b.onnx"), [Path("1.npz"), Path("2.npz")]
    )
    assert ["tool", "-i", "m.onnx"] == CommandCheck("tool -i").words(Path("m.onnx"), [])


def test_no_shell_sees_the_words() -> None:
    """A path with a semicolon, quotes or a dollar is one word."""
    odd = Path("$(touch owned); 'x' \".onnx")
    assert ["tool", str(odd)] == CommandCheck("tool {}").words(odd, [])
    program = "import sys; raise SystemExit(0 if sys.argv[1] == '$HOME;' else 1)"
    assert outcome(python(program, "$HOME;", "{}")) is not None


def test_output_of_a_command_is_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    """Its last line is told when the first run ends otherwise than expected."""
    program = "import sys; print('one', flush=True); print('two', file=sys.stderr); sys.exit(7)"
    with CommandCheck(python(program)) as check:
        assert check(MODEL, FEEDS) is None
    assert "the command exits with 7 and says: two" == check.last
    assert ("", "") == tuple(capfd.readouterr())


@pytest.mark.parametrize(
    ("command", "fails_with", "said"),
    [
        ("tool 'open", 0, "is not understood: no closing quotation"),
        ("", 0, "an empty command"),
        ("tool", "sometimes", "expected an exit code from 0 to 255, crash or timeout"),
        ("tool", 256, "expected an exit code from 0 to 255, crash or timeout"),
    ],
)
def test_command_that_cannot_be_meant_is_an_error(command: str, fails_with: int | str, said: str) -> None:
    """Before anything runs."""
    with pytest.raises(ExecutionError, match=said):
        CommandCheck(command, fails_with=fails_with)


def test_program_that_is_not_there_is_an_error() -> None:
    """And not a model that does not fail."""
    with pytest.raises(ExecutionError, match="'no-such-program' can't be run"):
        outcome("no-such-program {}")
