"""Runs the real passes and notes what the conditions in them come to.

A condition that never kept a rule from applying on a model need not be dropped there: the mutant does the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from benchmarks.guards.guard import Guard, Unit
from benchmarks.guards.mutants import pass_of
from benchmarks.guards.worlds import Span, import_watched
from graphopt.passes import Pass

__all__ = ["Seen", "Watch"]

#: What conditions came to, by module and span.
Seen = dict[tuple[str, Span], set[bool]]


class Watch:
    """Real passes whose conditions tell what they come to.

    Args:
        guards: those whose conditions are watched.
    """

    def __init__(self, guards: Iterable[Guard]) -> None:
        self._spans: defaultdict[str, set[Span]] = defaultdict(set)
        for guard in guards:
            if guard.condition is not None:
                module, span = guard.condition
                self._spans[module].add(span)
        self._passes: dict[str, type[Pass]] = {}
        self._seen: Seen = {}

    def real(self, unit: Unit) -> type[Pass]:
        """Return the pass of a rule or a pass as a whole, watched."""
        if unit.name not in self._passes:
            module = import_watched(self._spans, unit.pass_class.__module__, self._note)
            self._passes[unit.name] = pass_of(unit, module)
        return self._passes[unit.name]

    def start(self) -> Seen:
        """Forget what was seen, and return where what comes next is noted."""
        self._seen = defaultdict(set)
        return self._seen

    def _note(self, module: str, span: Span, value: object) -> object:
        self._seen[module, span].add(bool(value))
        return value


def kept_from_applying(guard: Guard, seen: Seen) -> bool:
    """Return whether a guard may have kept a rule from applying, for all that was seen."""
    return guard.condition is None or (not guard.accepts) in seen.get(guard.condition, ())
