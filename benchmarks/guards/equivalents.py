"""Guards whose absence no test can see, each with the reason, as maintainers wrote them down in `equivalent.toml`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["EQUIVALENT", "Entry", "matching_entry", "read_entries", "stale_entries"]

EQUIVALENT = Path(__file__).with_name("equivalent.toml")


@dataclass(frozen=True, slots=True)
class Entry:
    """One or several guards that are equivalent by argument.

    Attributes:
        guard: an id, or a part of it with `*` for the rest.
        because: one sentence.
    """

    guard: str
    because: str

    def matches(self, guard_id: str) -> bool:
        """Return whether this entry speaks of a guard."""
        if guard_id == self.guard:
            return True
        return re.fullmatch(".*".join(map(re.escape, self.guard.split("*"))), guard_id) is not None


def read_entries(path: Path = EQUIVALENT) -> list[Entry]:
    """Return the entries of a file.

    Raises:
        ValueError: if an entry lacks its guard or its reason, or a guard has two.
    """
    entries: list[Entry] = []
    for index, item in enumerate(tomllib.loads(path.read_text(encoding="utf-8")).get("equivalent", []), 1):
        guard, because = item.get("guard"), item.get("because")
        if not guard or not because or len(item) != 2:
            raise ValueError(
                f"{path.name}: entry {index} has {sorted(item)}, expected 'guard' and 'because' with texts"
            )
        if any(entry.guard == guard for entry in entries):
            raise ValueError(f"{path.name}: entry {index} repeats {guard!r}; keep one of them")
        entries.append(Entry(guard, because))
    return entries


def matching_entry(entries: Iterable[Entry], guard_id: str) -> Entry | None:
    """Return the first entry that speaks of a guard."""
    return next((entry for entry in entries if entry.matches(guard_id)), None)


def stale_entries(entries: Iterable[Entry], known: Iterable[str], caught: Iterable[str]) -> list[str]:
    """Return what is wrong with entries, one line each.

    Args:
        entries: all entries.
        known: ids of all guards.
        caught: ids of guards whose absence was noticed.
    """
    ids, noticed = list(known), list(caught)
    wrong: list[str] = []
    for entry in entries:
        if not any(entry.matches(guard_id) for guard_id in ids):
            wrong.append(f"{entry.guard!r} matches no guard; remove it, or correct it after the rule changed")
        found = next((guard_id for guard_id in noticed if entry.matches(guard_id)), None)
        if found is not None:
            wrong.append(
                f"{entry.guard!r} matches {found!r}, which is caught, so it is not equivalent; remove or narrow it"
            )
    return wrong
