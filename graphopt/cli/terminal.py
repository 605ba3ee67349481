"""What commands write: tables or JSON to stdout, and a sign of life to stderr when something takes long."""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from rich.console import Console, RenderableType
from rich.status import Status

from graphopt.report.machine import json_text

__all__ = ["progress", "show", "write_json"]

#: Columns when nobody looks: enough that no table wraps in a pipe or a file.
_WIDE = 160
_SILENT_SECONDS = 2.0
#: Seconds between two things that are shown.
_PAUSE = 0.1


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError  # rich would exit with an error; the group of commands ends quietly


def show(view: RenderableType) -> None:
    """Write tables or text to stdout."""
    stated = os.environ.get("COLUMNS", "")
    wide = int(stated) if stated.isdecimal() and int(stated) else None if sys.stdout.isatty() else _WIDE
    console = _Console(file=sys.stdout, width=wide, highlight=False, soft_wrap=False, emoji=False)
    if sys.stdout.isatty():
        console.print(view, crop=False)
        return
    with console.capture() as captured:
        console.print(view, crop=False)
    sys.stdout.write("\n".join(line.rstrip() for line in captured.get().split("\n")))  # cells are filled up with blanks


def write_json(result: object) -> None:
    """Write one JSON document to stdout."""
    text = json_text(result)
    if (sys.stdout.encoding or "").lower().replace("-", "") != "utf8":  # JSON can say all in ASCII
        text = json.dumps(json.loads(text), indent=2)
    sys.stdout.write(text + "\n")


@contextmanager
def progress(what: str, *, wanted: bool = True) -> Iterator[Callable[[str], None]]:
    """Show what is going on, once it takes more than two seconds; nothing when stderr is no terminal.

    Args:
        what: shown first.
        wanted: ``False`` shows nothing (``--quiet``, ``--json``).

    Returns:
        A function that takes what is going on now; it shows no more than ten things a second.
    """
    if not wanted or not sys.stderr.isatty():
        yield lambda text: None
        return
    status = Status(what, console=Console(file=sys.stderr))
    timer = threading.Timer(_SILENT_SECONDS, status.start)
    timer.daemon = True
    timer.start()
    last = -math.inf

    def said(text: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > _PAUSE:
            last = now
            status.update(f"{what}: {text}")

    try:
        yield said
    finally:
        timer.cancel()
        timer.join()
        status.stop()
