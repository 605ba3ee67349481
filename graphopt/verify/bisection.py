"""Finds the rewrite that makes a check fail, and a result without it.

Every application of a rewrite has a number, and a run may be stopped after the N-th, so the first wrong one is found in a logarithmic
number of runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from graphopt.rewriting import Application, Applications, Site

__all__ = ["Culprit", "Repaired", "find_culprit", "repair"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
#: Runs the pipeline under a limit and skips, and gives what the check takes.
RunWith = Callable[[Applications], T]
#: Whether a result is right.
IsRight = Callable[[T], bool]
_MOST_SITES: Final = 16


@dataclass(frozen=True, slots=True)
class Culprit:
    """What makes a check fail.

    Attributes:
        application: the first rewrite after which the check fails, ``None`` when it could not be told.
        runs: how many runs it took to find out.
        reason: why it could not be told.
    """

    application: Application | None
    runs: int
    reason: str = ""

    def __str__(self) -> str:
        return self.reason if self.application is None else str(self.application)


@dataclass(frozen=True, slots=True)
class Repaired(Generic[T]):
    """A result that passes the check.

    Attributes:
        result: what the last run gave.
        ok: whether it passes; ``False`` when too many rewrites were wrong.
        culprits: the rewrites that were left out, in the order in which they were found.
        runs: how many runs it took.
    """

    result: T
    ok: bool
    culprits: tuple[Culprit, ...]
    runs: int


def find_culprit(
    run_with: RunWith[T], is_right: IsRight[T], *, skip: frozenset[Site] = frozenset(), total: int | None = None
) -> Culprit:
    """The first rewrite after which a check fails, by binary search over the numbers of the applications.

    Args:
        run_with: runs the pipeline anew, from the original, under the limit and skips it is given.
        is_right: the check.
        skip: rewrites that are left out anyway.
        total: how many applications the failing run had, if that is known.
    """
    search = _Search(run_with, is_right, skip)
    if not search.is_right(0):
        return Culprit(
            None, search.runs, "the result is wrong before the first rewrite: reading or writing the model is at fault"
        )
    if total is None:
        search.is_right(None)
        total = len(search.log)
    good, bad = 0, total
    found: Application | None = None
    while bad - good > 1 or (found is None and bad > good):
        middle = (good + bad) // 2 if bad - good > 1 else bad
        if search.is_right(middle):
            good = middle
        else:
            bad, found = middle, search.log[-1] if search.log else None
    if found is None:
        return Culprit(None, search.runs, f"the failure did not show again when all {total} rewrites were applied")
    return Culprit(found, search.runs)


class _Search(Generic[T]):
    """Runs and counts."""

    def __init__(self, run_with: RunWith[T], is_right: IsRight[T], skip: frozenset[Site]) -> None:
        self.runs = 0
        self.log: list[Application] = []
        self._run_with = run_with
        self._is_right = is_right
        self._skip = skip

    def is_right(self, limit: int | None) -> bool:
        """Whether the result is right when rewrites stop after ``limit``."""
        self.runs += 1
        applications = Applications(limit, self._skip)
        found = self._is_right(self._run_with(applications))
        self.log = applications.log
        logger.debug("limit %s: %s", limit, "right" if found else "wrong")
        return found


def repair(run_with: RunWith[T], is_right: IsRight[T], *, most: int = _MOST_SITES) -> Repaired[T]:
    """A result that passes the check: wrong rewrites are found and left out, one after the other.

    Args:
        run_with: runs the pipeline anew, from the original, under the limit and skips it is given.
        is_right: the check.
        most: how many rewrites may be left out.
    """
    skip: frozenset[Site] = frozenset()
    culprits: list[Culprit] = []
    runs = 0
    while True:
        applications = Applications(skip=skip)
        result = run_with(applications)
        runs += 1
        if is_right(result):
            return Repaired(result, True, tuple(culprits), runs)
        if len(culprits) >= most:
            return Repaired(result, False, tuple(culprits), runs)
        culprit = find_culprit(run_with, is_right, skip=skip, total=len(applications.log))
        runs += culprit.runs
        culprits.append(culprit)
        application = culprit.application
        if application is None or (application.rule, application.site) in skip:
            return Repaired(result, False, tuple(culprits), runs)
        skip |= {(application.rule, application.site)}
