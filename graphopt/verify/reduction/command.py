"""A check that is any command: what it exits with says whether a model still fails."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from graphopt.backends.onnx.files import save
from graphopt.errors import ExecutionError
from graphopt.ir import Model
from graphopt.runtime.base import Feeds
from graphopt.verify.user_inputs import save_inputs

__all__ = ["CommandCheck"]

_MODEL, _INPUTS = "{}", "{inputs}"
_LARGEST_CODE: Final = 255
_TAIL: Final = 300


class CommandCheck:
    """Runs a command on each candidate. Use it in a ``with`` statement, or close it: it has temporary files.

    The command is split like a shell would (quotes work; pipes and variables need ``sh -c``), and no shell sees the paths. ``{}`` stands
    for the model file, which comes last where it is not mentioned; ``{inputs}`` for an ``.npz`` file with the inputs, one word for each
    set of inputs where the word is nothing else.

    Args:
        command: as on a command line, or a list of words.
        fails_with: the end that means that the model still fails: an exit code, ``"crash"`` (killed by a signal) or ``"timeout"``. Any
            other end means that it does not, or fails in another way.
        timeout: seconds that the command may take.

    Raises:
        ExecutionError: if the command can't be split, or is empty.

    Example:
        >>> CommandCheck("python check.py --model {} --inputs {inputs}").words(Path("m.onnx"), [Path("i.npz")])
        ['python', 'check.py', '--model', 'm.onnx', '--inputs', 'i.npz']
    """

    def __init__(
        self, command: str | Sequence[str], *, fails_with: int | str = 0, timeout: float | None = None
    ) -> None:
        try:
            self._words = shlex.split(command) if isinstance(command, str) else list(command)
        except ValueError as err:
            raise ExecutionError(f"check {command!r} is not understood: {' '.join(str(err).split()).lower()}") from err
        if not self._words:
            raise ExecutionError("the check is an empty command; name a program that tells whether a model fails")
        self._wanted = _parse_end(fails_with)
        self._timeout = timeout
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        #: How the last run ended, for messages.
        self.last = ""

    def __call__(self, model: Model, samples: Sequence[Feeds]) -> str | None:
        """The kind of failure, ``None`` when the command ends in any other way.

        Raises:
            ExecutionError: if there is no such program.
        """
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="graphopt-check-", ignore_cleanup_errors=True)
        folder = Path(self._folder.name)
        path = folder / "candidate.onnx"
        save(model, path, force=True)
        inputs = [folder / f"inputs-{number}.npz" for number in range(1, len(samples) + 1)]
        for place, feeds in zip(inputs, samples, strict=True):
            save_inputs(place, feeds)
        end, said = self._run(self.words(path, inputs))
        self.last = f"the command {_spell(end)}{f' and says: {said}' if said else ''}"
        return f"the command {_spell(end)}" if end == self._wanted else None

    def words(self, model: Path, inputs: Sequence[Path]) -> list[str]:
        """The command for a model file and files with inputs."""
        found: list[str] = []
        for word in self._words:
            if word == _INPUTS:
                found += map(str, inputs)
            else:
                first = str(inputs[0]) if inputs else ""
                found.append(word.replace(_INPUTS, first).replace(_MODEL, str(model)))
        return found if any(_MODEL in word for word in self._words) else [*found, str(model)]

    @property
    def expected(self) -> str:
        """How the command ends on a model that fails."""
        return _spell(self._wanted)

    def close(self) -> None:
        """Remove temporary files."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, words: list[str]) -> tuple[int | str, str]:
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except (OSError, ValueError) as err:
            reason = getattr(err, "strerror", None) or str(err)
            raise ExecutionError(
                f"check: {words[0]!r} can't be run: {reason}; name a program, or use sh -c '...' for what a shell knows"
            ) from err
        try:
            said, _ = process.communicate(timeout=self._timeout)
        except subprocess.TimeoutExpired:
            return "timeout", ""
        finally:
            if process.returncode is None:
                _kill(process)
        code = process.returncode
        lines = said.decode("utf-8", "replace").strip().splitlines()
        return ("crash" if code < 0 else code), lines[-1].strip()[:_TAIL] if lines else ""


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a command with all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (OSError, AttributeError):  # gone meanwhile, or a system without process groups
        process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _parse_end(text: int | str) -> int | str:
    if text in ("crash", "timeout"):
        return text
    try:
        code = int(text)
    except ValueError:
        code = -1
    if not 0 <= code <= _LARGEST_CODE:
        raise ExecutionError(f"{text!r} is no end of a command; expected an exit code from 0 to 255, crash or timeout")
    return code


def _spell(end: int | str) -> str:
    if end == "crash":
        return "is killed by a signal"
    return "takes too long" if end == "timeout" else f"exits with {end}"
