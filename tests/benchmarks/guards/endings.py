"""Ways in which the judgement of a mutant may end, for the child process of a court."""

from __future__ import annotations

import os
import threading

from benchmarks.guards.judging import Verdict


def fine(guard_id: str, examples: int, rules: str) -> Verdict:
    """Says what it was asked."""
    return Verdict("reached", f"{guard_id} {rules}", examples)


def crash(guard_id: str, examples: int, rules: str) -> Verdict:
    """Takes the process down."""
    os.abort()


def hang(guard_id: str, examples: int, rules: str) -> Verdict:
    """Never ends."""
    threading.Event().wait()
    raise AssertionError("nobody sets the event")


def fail(guard_id: str, examples: int, rules: str) -> Verdict:
    """Is a mistake of the benchmark."""
    raise RuntimeError("a mistake")
