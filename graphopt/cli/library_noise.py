"""What C libraries write to stderr by themselves, kept away from there: it is for what graphopt says, one line for an error."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["without_library_noise"]

_STDERR: Final = 2


@contextmanager
def without_library_noise() -> Iterator[None]:
    """Let nothing but Python write to stderr. Nothing changes with ``--debug``, or where stderr of Python is something else.

    Libraries return what is wrong, or tell it to a log that is read; some print it besides.
    """
    if logging.getLogger("graphopt").isEnabledFor(logging.DEBUG) or not _is_stderr():
        yield
        return
    before = sys.stderr
    before.flush()
    stream = os.fdopen(os.dup(_STDERR), "w", buffering=1, encoding=before.encoding, errors=before.errors)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, _STDERR)
        sys.stderr = stream
        yield
    finally:
        sys.stderr = before
        stream.flush()
        os.dup2(stream.fileno(), _STDERR)
        os.close(nowhere)
        stream.close()


def _is_stderr() -> bool:
    try:
        return sys.stderr.fileno() == _STDERR
    except (AttributeError, OSError, ValueError):
        return False
