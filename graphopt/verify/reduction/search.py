"""The search for a smaller case: candidates in, the smallest one that still fails in the same way out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias, runtime_checkable

from google.protobuf.message import EncodeError

from graphopt.errors import GraphoptError
from graphopt.ir import Model, find_problems
from graphopt.runtime.base import Feeds
from graphopt.verify.reduction.case import Case, digest, light_proto
from graphopt.verify.reduction.editing import infer_types
from graphopt.verify.reduction.recorder import Recorder
from graphopt.verify.reduction.validity import is_valid, passes_checker

__all__ = ["Check", "Search", "Shrinker", "Step", "run_shrinkers"]

logger = logging.getLogger(__name__)

#: How a model fails on some inputs, in a few words, ``None`` when it doesn't. It may edit the model: it is given a copy.
Check: TypeAlias = Callable[[Model, Sequence[Feeds]], "str | None"]
_MOST_ROUNDS: Final = 10


@runtime_checkable
class Shrinker(Protocol):
    """One way to make a case smaller."""

    @property
    def name(self) -> str:
        """What it does, in a few words."""

    def shrink(self, search: Search) -> None:
        """Offer candidates made from ``search.case`` to :meth:`Search.attempt`; what is accepted is ``search.case`` from then on."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one run of a shrinker brought.

    Attributes:
        name: of the shrinker.
        nodes_before: nodes when it began.
        nodes_after: nodes when it ended.
        checks: how often the check ran.
        accepted: how many candidates failed as the original does.
        seconds: how long it took.
    """

    name: str
    nodes_before: int
    nodes_after: int
    checks: int
    accepted: int
    seconds: float


class Search:
    """The smallest case so far, and the judge of candidates.

    Args:
        case: the original; it fails.
        check: tells how a candidate fails.
        kind: how the original fails: what fails in another way is not accepted.
        recorder: runs models.
        progress: told how far it is.

    Attributes:
        case: the smallest one so far.
        checks: how often the check ran.
        accepted: how many candidates were accepted.
        steps: what each run of a shrinker brought.
    """

    def __init__(
        self,
        case: Case,
        check: Check,
        kind: str,
        recorder: Recorder,
        progress: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.case = case.copy()
        for graph in self.case.model.graphs():
            graph.origin = None  # what the file said of values would be said again, whatever becomes of them
        infer_types(self.case.model)
        self.kind = kind
        self.recorder = recorder
        self.checks = 0
        self.accepted = 0
        self.steps: list[Step] = []
        self._check = check
        self._progress = progress
        self._first = case.node_count
        self._valid = is_valid(self.case)
        self._running = recorder.runs(self.case)
        self._seen = {digest(self.case, light_proto(self.case.model))}
        self.doing = ""

    def attempt(self, candidate: Case | None, *, same_values: bool = False) -> bool:
        """Go on with a candidate if it fails as the original does.

        It must also be a valid model and run on its inputs, if the original is and does.

        Args:
            candidate: ``None`` is never accepted, nor is one that was seen before.
            same_values: whether all values that are left in it have the numbers they had.
        """
        if candidate is None:
            return False
        candidate = candidate.fitted()
        if not self._is_new(candidate) or not self._fails(candidate):
            return False
        if not same_values and self._running and not self.recorder.runs(candidate):
            return False
        if not same_values or len(candidate.samples) != len(self.case.samples):
            self.recorder.forget()
        self.case = candidate
        self.accepted += 1
        self._tell()
        return True

    def _is_new(self, candidate: Case) -> bool:
        """Whether a candidate was not seen before, and is a valid model."""
        try:
            if next(iter(find_problems(candidate.model)), None) is not None:
                return False
            proto = light_proto(candidate.model)
            key = digest(candidate, proto)
        except (GraphoptError, ValueError, EncodeError) as err:
            logger.debug("a candidate can't be emitted: %s", err)
            return False
        if key in self._seen:
            return False
        self._seen.add(key)
        return not self._valid or passes_checker(proto)

    def _fails(self, candidate: Case) -> bool:
        self.checks += 1
        self._tell()
        found = self._check(candidate.copy().model, candidate.samples)
        logger.debug("%s: %d nodes: %s", self.doing, candidate.node_count, found or "no failure")
        return found == self.kind

    def _tell(self) -> None:
        many = "" if self.checks == 1 else "s"
        self._progress(f"{self.case.node_count} of {self._first} nodes, {self.checks} check{many}, {self.doing}")

    def run(self, shrinker: Shrinker) -> None:
        """Let a shrinker do what it can, and keep account of it."""
        self.doing = shrinker.name
        nodes, checks, accepted, start = self.case.node_count, self.checks, self.accepted, time.perf_counter()
        try:
            shrinker.shrink(self)
        finally:
            self.steps.append(
                Step(
                    shrinker.name,
                    nodes,
                    self.case.node_count,
                    self.checks - checks,
                    self.accepted - accepted,
                    time.perf_counter() - start,
                )
            )


def run_shrinkers(search: Search, shrinkers: Sequence[Shrinker]) -> None:
    """Run shrinkers in turn until a whole round brings nothing."""
    for _ in range(_MOST_ROUNDS):
        before = search.accepted
        for shrinker in shrinkers:
            search.run(shrinker)
        if search.accepted == before:
            return
