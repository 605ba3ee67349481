"""Removes the guards of the built-in rules one at a time, and counts how many the testing kit misses.

A mutant is caught when the kit, which is content with the rule, turns red on the rule without the guard. It is missed when it did
something else than the rule on some model and the kit was content; it is never reached when it did the same on all models.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from benchmarks.guards.court import Court, all_guards, held_by
from benchmarks.guards.equivalents import read_entries, stale_entries
from benchmarks.guards.guard import units
from benchmarks.guards.subjects import portions
from benchmarks.guards.table import Judged, census_table, record_of, table_of
from benchmarks.measure import save_record

__all__ = ["main"]

_T = TypeVar("_T")
_R = TypeVar("_R")


def main(argv: Sequence[str] | None = None) -> int:
    """Judge guards, print what came of them, and store the record; 1 if an argument that a guard is equivalent is stale."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guards", description=__doc__)
    parser.add_argument("--rules", default="*", metavar="GLOB", help="rules and passes to look at (default: all)")
    parser.add_argument(
        "--examples",
        type=int,
        default=60,
        metavar="N",
        help="models that a rule matches, 3 N near misses and 4 N others (60)",
    )
    parser.add_argument("--limit", type=float, default=300.0, metavar="S", help="seconds for one guard (300)")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes (2)")
    parser.add_argument("--missed", type=Path, metavar="FILE", help="only guards that this record does not call caught")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the record goes (default: out/guards.json)")
    options = parser.parse_args(argv)
    console = Console()
    guards = [found for guard in all_guards() if (found := held_by(guard, options.rules))]
    if options.missed is not None:
        each = json.loads(options.missed.read_text(encoding="utf-8"))["results"]["each"]
        guards = [guard for guard in guards if each.get(guard.id, {}).get("outcome") != "caught"]
    if not guards:
        parser.error(f"no rule or pass is called {options.rules!r}, or nothing of it was missed; graphopt list rules")
    wanted = {unit.name for guard in guards for unit in guard.holders}
    chosen = [unit for unit in units() if unit.name in wanted]
    with Bench([Court(options.examples, options.limit, options.rules) for _ in range(options.jobs)], console) as bench:
        models = list(dict.fromkeys(portion for unit in chosen for portion in portions(unit, options.examples)))
        crashed = bench.each("models", models, Court.draw).count(False)
        census = dict(zip([unit.name for unit in chosen], bench.each("real rules", chosen, Court.census), strict=True))
        verdicts = bench.each("guards", guards, Court.verdict)
    entries = read_entries()
    judged = [Judged.of(guard, verdict, entries) for guard, verdict in zip(guards, verdicts, strict=True)]
    console.print(census_table(census))
    _show(judged, console)
    times = ", ".join(f"{title} {seconds:.0f} s" for title, seconds in bench.seconds.items())
    trials = sum(verdict.seen for verdict in verdicts)
    each = bench.seconds["guards"] * options.jobs / max(trials, 1)
    console.print(
        f"{times}; {trials:,} trials of mutants, {1000 * each:.1f} ms each; {crashed} portions of models not drawn"
    )
    settings = {"rules": options.rules, "examples": options.examples, "jobs": options.jobs}
    results = {**record_of(judged), "models": census, "seconds": bench.seconds, "trials": trials}
    path = save_record("guards", results, settings=settings, path=options.json)
    console.print(f"record: {path}", highlight=False)
    caught = [item.guard.id for item in judged if item.outcome == "caught"]
    stale = stale_entries(entries, [guard.id for guard in all_guards()], caught)
    for line in stale:
        console.print(f"equivalent.toml: {line}", markup=False, highlight=False)
    return 1 if stale else 0


class Bench:
    """Several courts that share the work.

    Args:
        courts: one for each process.
        console: for the progress.
    """

    def __init__(self, courts: Sequence[Court], console: Console) -> None:
        self._courts = courts
        self._console = console
        self._free: SimpleQueue[Court] = SimpleQueue()
        for court in courts:
            self._free.put(court)
        self.seconds: dict[str, float] = {}

    def each(self, title: str, items: Sequence[_T], work: Callable[[Court, _T], _R]) -> list[_R]:
        """Return what a court makes of each item, in their order, and note how long all took."""
        start = time.monotonic()
        with ThreadPoolExecutor(len(self._courts)) as pool:
            done: Iterable[_R] = pool.map(lambda item: self._one(item, work), items)
            found = list(track(done, title, total=len(items), console=self._console, transient=True))
        self.seconds[title] = round(time.monotonic() - start, 1)
        return found

    def _one(self, item: _T, work: Callable[[Court, _T], _R]) -> _R:
        court = self._free.get()
        try:
            return work(court, item)
        finally:
            self._free.put(court)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        for court in self._courts:
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
