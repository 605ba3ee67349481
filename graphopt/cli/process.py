"""What the command line needs of its process: streams that take any text, one form of warnings, no telemetry, an end that cleans up."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Final, NoReturn

__all__ = ["TERMINATED", "Terminated", "clean_up_on_termination", "prepare_process"]

#: Exit code of a process that SIGTERM ended, as shells count.
TERMINATED: Final = 128 + signal.SIGTERM


class Terminated(SystemExit):
    """Somebody sent SIGTERM."""


def clean_up_on_termination() -> None:
    """Let SIGTERM end this process as Ctrl-C does: temporary folders and child processes go first. A second one ends it at once.

    For a process that is graphopt's own; what was asked for otherwise (to ignore the signal) stays, and only a main thread may ask.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise Terminated(TERMINATED)


def prepare_process(args: Sequence[str]) -> None:
    """Set up streams, warnings and environment of a process that runs one command line.

    Args:
        args: the command line; ``--quiet`` silences warnings, ``--debug`` shows more than them.
    """
    os.environ.setdefault(
        "ORT_DISABLE_TELEMETRY", "1"
    )  # ONNX Runtime would report runs, and leave a file in the temporary folder
    if sys.stdout is None:  # closed by whoever started this
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - lives as long as the process
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - as above
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(
                errors="backslashreplace"
            )  # names in a model may be anything, a terminal may know ASCII only
    _show_warnings(wanted="--quiet" not in args and "-q" not in args)


def _show_warnings(*, wanted: bool) -> None:
    logger = logging.getLogger("graphopt")
    for handler in [handler for handler in logger.handlers if isinstance(handler, _Warnings)]:
        logger.removeHandler(handler)  # of an earlier command line of this process
    logger.addHandler(_Warnings(wanted=wanted))


class _Warnings(logging.Handler):
    """Warnings of graphopt as single lines on stderr."""

    def __init__(self, *, wanted: bool) -> None:
        super().__init__(logging.WARNING)
        self._wanted = wanted

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, unless somebody else shows log messages or nobody wants to see any."""
        if self._wanted and not logging.getLogger().handlers:
            sys.stderr.write(f"graphopt: warning: {' '.join(record.getMessage().split())}\n")
