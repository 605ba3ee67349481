"""Ways in which the judgement of a mutant may end, for the child process of a court."""

from __future__ import annotations

import os
import threading

from benchmarks.guards.judging import Verdict


def fine(guard_id: str, examples: int) -> Verdict:
    """Says what it was asked."""
    return Verdict("reached", guard_id, examples)


def crash(guard_id: str, examples: int) -> Verdict:
    """Takes the process down."""
    os.abort()


def hang(guard_id: str, examples: int) -> Verdict:
    """Never ends."""
    threading.Event().wait()
    raise AssertionError("nobody sets the event")


def fail(guard_id: str, examples: int) -> Verdict:
    """Is a mistake of the benchmark."""
    raise RuntimeError("a mistake")
