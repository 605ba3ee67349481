"""From verdicts on guards to tables for people and a record for machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from benchmarks.guards.equivalents import Entry, matching_entry
from benchmarks.guards.guard import Guard
from benchmarks.guards.judging import Verdict
from benchmarks.guards.subjects import KINDS_OF_MODELS

__all__ = ["OUTCOMES", "Judged", "census_table", "record_of", "table_of"]

#: What can come of a guard. Type narrowing that nothing reaches is what a type checker asks for, so nobody has to argue about it.
OUTCOMES = ("caught", "equivalent", "narrowing", "missed", "never reached")
_NAMES = {"caught": "caught", "reached": "missed", "never": "never reached"}


@dataclass(frozen=True, slots=True)
class Judged:
    """A guard with what came of it.

    Attributes:
        guard: the guard.
        verdict: what came of the mutant.
        entry: the argument that it is equivalent, if somebody wrote one down.
    """

    guard: Guard
    verdict: Verdict
    entry: Entry | None = None

    @classmethod
    def of(cls, guard: Guard, verdict: Verdict, entries: Iterable[Entry]) -> Judged:
        """Return a guard with its verdict and the entry that speaks of it."""
        return cls(guard, verdict, matching_entry(entries, guard.id))

    @property
    def outcome(self) -> str:
        """Return one of `OUTCOMES`."""
        if self.verdict.state == "caught":
            return "caught"
        if self.entry is not None:
            return "equivalent"
        if self.guard.kind == "type narrowing" and self.verdict.state == "never":
            return "narrowing"
        return _NAMES[self.verdict.state]


def table_of(judged: Sequence[Judged], title: str, key: Callable[[Judged], str]) -> Table:
    """Return how many guards came to what, a row for each value of `key` and one for all."""
    table = Table(title, "guards", *OUTCOMES)
    table.columns[0].no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
    groups: dict[str, list[Judged]] = {}
    for item in judged:
        groups.setdefault(key(item), []).append(item)
    for name, items in groups.items():
        table.add_row(name, *_cells(items))
    table.add_section()
    table.add_row("all", *_cells(judged))
    return table


def _cells(items: Sequence[Judged]) -> list[str]:
    counts = Counter(item.outcome for item in items)
    return [f"{len(items):,}", *(f"{counts[outcome]:,}" if counts[outcome] else "" for outcome in OUTCOMES)]


def census_table(census: Mapping[str, Mapping[str, tuple[int, int]]]) -> Table:
    """Return on how many models of each kind each rule or pass did something."""
    table = Table("rule or pass", *(f"applies, {kind}" for kind in KINDS_OF_MODELS))
    for name, found in census.items():
        cells = [f"{found[kind][1]} of {found[kind][0]}" if kind in found else "" for kind in KINDS_OF_MODELS]
        table.add_row(name, *cells)
    return table


def record_of(judged: Sequence[Judged]) -> dict[str, object]:
    """Return the counts and each guard, as plain values."""
    counts = Counter(item.outcome for item in judged)
    return {
        "guards": len(judged),
        "counts": {outcome: counts[outcome] for outcome in OUTCOMES},
        "each": {item.guard.id: _row(item) for item in judged},
    }


def _row(item: Judged) -> dict[str, object]:
    verdict = item.verdict
    row: dict[str, object] = {"outcome": item.outcome, "at": item.guard.place}
    if len(item.guard.holders) > 1:
        row["rules"] = [unit.name for unit in item.guard.holders]
    if item.entry is not None and item.outcome == "equivalent":
        row["because"] = item.entry.because
    elif verdict.reason:
        row["reason"] = verdict.reason
    return row | {"models": verdict.seen, "changed": verdict.changed}
