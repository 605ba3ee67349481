"""Finds the rewrite that makes a check fail, and a result without it.

Every application of a rewrite has a number, and a run may be stopped after the N-th, so the first wrong one is found in a logarithmic
number of runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from graphopt.rewriting import EVERYWHERE, Application, Applications, Site

__all__ = ["Culprit", "Repaired", "find_culprit", "first_wrong", "repair"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
#: Runs the pipeline under a limit and skips, and gives what the check takes.
RunWith = Callable[[Applications], T]
#: Whether a result is right.
IsRight = Callable[[T], bool]
#: Finds what makes a result wrong that was made without some rewrites.
Find = Callable[[T, frozenset[Site]], "Culprit"]
_MOST_SITES: Final = 16
#: A rule that was wrong at this many sites is left out altogether.
_SITES_OF_A_RULE: Final = 6


@dataclass(frozen=True, slots=True)
class Culprit:
    """What makes a check fail.

    Attributes:
        application: the first rewrite after which the check fails, ``None`` when it could not be told.
        runs: how many runs it took to find out.
        reason: why it could not be told.
        everywhere: whether the rule (or pass) as a whole is at fault, not only this application of it.
    """

    application: Application | None
    runs: int
    reason: str = ""
    everywhere: bool = False

    @property
    def skip(self) -> Site | None:
        """What a run has to leave out, ``None`` when the culprit is not known."""
        if self.application is None:
            return None
        return self.application.rule, EVERYWHERE if self.everywhere else self.application.site

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


def first_wrong(is_right: Callable[[int], bool], right: int, wrong: int) -> int:
    """A number that is wrong while the one before it is right, found by halving; the first one, if all after it are wrong too.

    Args:
        is_right: asked of numbers between.
        right: a number that is known to be right.
        wrong: a larger one that is known to be wrong.

    Example:
        >>> first_wrong(lambda number: number < 37, 0, 100)
        37
    """
    while wrong - right > 1:
        middle = (right + wrong) // 2
        if is_right(middle):
            right = middle
        else:
            wrong = middle
    return wrong


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
    if total and not search.is_right(total):
        number = first_wrong(search.is_right, 0, total)
        application = search.last[number]
        if application is not None:
            return Culprit(application, search.runs)
    return Culprit(None, search.runs, f"the failure did not show again when all {total} rewrites were applied")


class _Search(Generic[T]):
    """Runs and counts."""

    def __init__(self, run_with: RunWith[T], is_right: IsRight[T], skip: frozenset[Site]) -> None:
        self.runs = 0
        self.log: list[Application] = []
        self.last: dict[int | None, Application | None] = {}
        self._run_with = run_with
        self._is_right = is_right
        self._skip = skip

    def is_right(self, limit: int | None) -> bool:
        """Whether the result is right when rewrites stop after ``limit``."""
        self.runs += 1
        applications = Applications(limit, self._skip)
        found = self._is_right(self._run_with(applications))
        self.log = applications.log
        self.last[limit] = self.log[-1] if self.log else None
        logger.debug("limit %s: %s", limit, "right" if found else "wrong")
        return found


def repair(
    run_with: RunWith[T], is_right: IsRight[T], *, most: int = _MOST_SITES, find: Find[T] | None = None
) -> Repaired[T]:
    """A result that passes the check: wrong rewrites are found and left out, one after the other.

    A rule that proves wrong at one site after the other is left out as a whole.

    Args:
        run_with: runs the pipeline anew, from the original, under the limit and skips it is given.
        is_right: the check.
        most: how many rewrites may be left out.
        find: finds the culprit of a wrong result; :func:`find_culprit` by default.
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
        if find is not None:
            culprit = find(result, skip)
        else:
            culprit = find_culprit(run_with, is_right, skip=skip, total=len(applications.log))
        runs += culprit.runs
        culprits.append(culprit)
        if culprit.skip is None or culprit.skip in skip:
            return Repaired(result, False, tuple(culprits), runs)
        rule = culprit.skip[0]
        if sum(other.skip is not None and other.skip[0] == rule for other in culprits) >= _SITES_OF_A_RULE:
            culprits[-1] = replace(culprit, everywhere=True)
            skip |= {(rule, EVERYWHERE)}
        skip |= {culprit.skip}
