"""Saves what broke a law: the model as ``.onnx``, its inputs, and the command that shows it again."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from graphopt.errors import OutputError
from graphopt.testing.oracles.law import LawBroken
from graphopt.verify import write_reproducer
from graphopt.verify.reproducer_record import RECORD_NAME

__all__ = ["broken_laws", "save_failure"]

#: Failures that ``graphopt replay`` knows, by law.
_KINDS: Final = {
    "equivalent": "wrong-numbers",
    "valid": "invalid-model",
    "runs": "exception",
}
_LONGEST_NAME: Final = 100


def broken_laws(error: BaseException) -> Iterator[LawBroken]:
    """The broken laws in an exception, in a group of exceptions, and in what caused it."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        item = todo.pop()
        if item is None or id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, LawBroken):
            yield item
            continue  # what caused it is another form of the same failure
        if isinstance(item, BaseExceptionGroup):
            todo.extend(item.exceptions)
        todo += [item.__cause__, item.__context__]


def save_failure(broken: LawBroken, folder: Path, test: str) -> str:
    """Write a folder for a broken law, in the place of an earlier one of the same test.

    Args:
        broken: the failure.
        folder: where such folders are; it is made, and kept out of version control.
        test: node ID of the test.

    Returns:
        Where it is and how to see it again, for people.

    Raises:
        OutputError: if it can't be written.
    """
    place = folder / f"{re.sub(r'[^A-Za-z0-9.]+', '-', test).strip('-.')[-_LONGEST_NAME:]}-{broken.law}"
    rerun = f"pytest {shlex.quote(test)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".gitignore").write_text("*\n", encoding="utf-8")
        if (place / RECORD_NAME).is_file():
            shutil.rmtree(place)
        made = write_reproducer(
            place,
            original=broken.model,
            optimized=broken.after,
            verdict=None,
            pipeline=broken.pipeline,
            application=broken.application,
            kind=_KINDS.get(broken.law, broken.law),
            reason=f"{broken.subject} breaks the law {broken.law!r}: {broken.detail}",
            inputs=broken.feeds,
            target=broken.target,
            imports=broken.imports or (),
        )
        if _can_be_replayed(broken):
            command = made.command.replace("replay .", f"replay {shlex.quote(str(made.folder))}", 1)
        else:
            command = rerun
        (made.folder / "README").write_text(_readme(broken, command, rerun), encoding="utf-8")
    except OSError as err:
        raise OutputError(f"failure {str(place)!r} cannot be saved: {err.strerror}; choose another folder") from err
    return f"model and inputs: {made.folder}\nto see it again: {command}"


def _can_be_replayed(broken: LawBroken) -> bool:
    """Whether ``graphopt replay`` can show it: others are seen by running the test again."""
    return broken.law in _KINDS and bool(broken.pipeline) and broken.imports is not None


def _readme(broken: LawBroken, command: str, rerun: str) -> str:
    lines = [str(broken), "", "To see it again:", "", f"    {command}"]
    if command != rerun:
        lines += ["", "or run the test:", "", f"    {rerun}"]
    return "\n".join(lines) + "\n"
