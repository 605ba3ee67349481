"""Plugins that watch passes, as an instrumentation: the pass manager knows no hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from graphopt.ir import Model
from graphopt.passes import Instrumentation, Pass, PassRecord, PassResult

__all__ = ["Observers"]


class Observers(Instrumentation):
    """Tells plugins of passes.

    Args:
        ask: calls a hook of each plugin with arguments by name.
    """

    def __init__(self, ask: Callable[..., Iterator[tuple[str, object]]]) -> None:
        self._ask = ask

    def before_pass(self, item: Pass, model: Model, record: PassRecord) -> None:
        """A pass is about to run."""
        for _ in self._ask("graphopt_before_pass", name=item.name, model=model):
            pass

    def after_pass(self, item: Pass, model: Model, result: PassResult, record: PassRecord) -> None:
        """A pass has run."""
        for _ in self._ask("graphopt_after_pass", name=item.name, model=model, record=record):
            pass
