"""Removes the guards of the built-in rules one at a time, and counts how many the testing kit misses.

A mutant is caught when the kit, which is content with the rule, turns red on the rule without the guard. It is missed when it did
something else than the rule on some model and the kit was content; it is never reached when it did the same on all models.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from benchmarks.guards.court import Court, all_guards, held_by
from benchmarks.guards.equivalents import read_entries, stale_entries
from benchmarks.guards.guard import Guard, units
from benchmarks.guards.subjects import models_for
from benchmarks.guards.table import Judged, record_of, table_of
from benchmarks.measure import save_record

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Judge guards, print what came of them, and store the record; 1 if an argument that a guard is equivalent is stale."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guards", description=__doc__)
    parser.add_argument("--rules", default="*", metavar="GLOB", help="rules and passes to look at (default: all)")
    parser.add_argument("--examples", type=int, default=60, metavar="N", help="models of each kind for a rule (60)")
    parser.add_argument("--limit", type=float, default=300.0, metavar="S", help="seconds for one guard (300)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the record goes (default: out/guards.json)")
    options = parser.parse_args(argv)
    console = Console()
    guards = [found for guard in all_guards() if (found := held_by(guard, options.rules))]
    if not guards:
        parser.error(f"no rule or pass is called {options.rules!r}; graphopt list rules")
    _draw(guards, options.examples, console)
    judged = _judge(guards, Court(options.examples, options.limit, options.rules), console)
    _show(judged, console)
    settings = {"rules": options.rules, "examples": options.examples}
    path = save_record("guards", record_of(judged), settings=settings, path=options.json)
    console.print(f"record: {path}", highlight=False)
    caught = [item.guard.id for item in judged if item.outcome == "caught"]
    stale = stale_entries(read_entries(), [guard.id for guard in all_guards()], caught)
    for line in stale:
        console.print(f"equivalent.toml: {line}", markup=False, highlight=False)
    return 1 if stale else 0


def _draw(guards: Sequence[Guard], examples: int, console: Console) -> None:
    """Draw all models before the first verdict; children read them from the cache."""
    wanted = {unit.name for guard in guards for unit in guard.holders}
    drawn = [unit for unit in units() if unit.name in wanted]
    for unit in track(drawn, "models", console=console, transient=True):
        models_for(unit, examples)


def _judge(guards: Sequence[Guard], court: Court, console: Console) -> list[Judged]:
    entries = read_entries()
    try:
        todo = track(guards, "guards", console=console, transient=True)
        return [Judged.of(guard, court.verdict(guard), entries) for guard in todo]
    finally:
        court.close()


def _show(judged: Sequence[Judged], console: Console) -> None:
    console.print(table_of(judged, "rule or pass", lambda item: item.guard.owner))
    console.print(table_of(sorted(judged, key=lambda item: item.guard.kind), "kind", lambda item: item.guard.kind))
    for item in judged:
        if item.outcome in ("missed", "never reached"):
            more = f" ({item.verdict.reason})" if item.verdict.reason else ""
            line = f"{item.outcome}: {item.guard.id}{more}  {item.guard.place}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    raise SystemExit(main())
