"""A sign of life on stderr for what takes long, and none where nobody looks."""

from __future__ import annotations

import io
import threading

import pytest

from graphopt.cli.terminal import progress


class Terminal(io.StringIO):
    """Standard error of someone who looks; says when something is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if "at work" in text:
            self.written.set()
        return super().write(text)


def test_progress_is_shown_once_it_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the silent time the terminal shows what is going on."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("graphopt.cli.terminal._SILENT_SECONDS", 0.0)
    with progress("working") as tell:
        tell("at work")
        assert terminal.written.wait(timeout=30)


def test_what_is_quick_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the silent time nothing is written, with or without a terminal."""
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr("sys.stderr", stream)
        with progress("working") as tell:
            tell("at work")
        assert "" == stream.getvalue()


def test_nobody_looks_or_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pipe, with --json or --quiet, nothing is shown however long it takes."""
    monkeypatch.setattr("graphopt.cli.terminal._SILENT_SECONDS", 0.0)
    before = threading.active_count()
    for stream, wanted in ((io.StringIO(), True), (Terminal(), False)):
        monkeypatch.setattr("sys.stderr", stream)
        with progress("working", wanted=wanted) as tell:
            tell("at work")
            assert before == threading.active_count()
        assert "" == stream.getvalue()
