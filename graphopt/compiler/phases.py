"""A job of several phases: what is open while it goes on, and how long each phase took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Self

__all__ = ["Phases"]


class Phases:
    """What jobs of several phases share; use one in a ``with`` statement.

    Args:
        tell: told what is going on.

    Attributes:
        stack: closes what is opened.
        seconds: time by phase.

    Example:
        >>> with Phases(print) as job, job.timed("data"):
        ...     pass
        data
        >>> list(job.seconds)
        ['data']
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.tell = tell
        self.stack = ExitStack()
        self.seconds: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the time of a block to a phase."""
        start = time.perf_counter()
        self.tell(phase)
        try:
            yield
        finally:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - start
