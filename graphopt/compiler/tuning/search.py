"""The search of ``tune``: stages of trials against the best so far, and at the end the best against the original.

It knows neither models nor runtimes: a laboratory makes and measures what it is asked for, so the search itself is tested with made-up
times.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol

from graphopt.compiler.tuning.choices import Candidate, levels, sessions, without_fusions
from graphopt.compiler.tuning.trial import TrialResult
from graphopt.runtime.paired import PairedTimes

__all__ = ["Found", "Laboratory", "TrialRecord", "TuningSearch"]

Outcome = Literal["faster", "no faster", "slower", "wrong", "failed", "the same model", "no time"]

#: Parts of the time: levels, fusions, settings; the rest confirms what was found.
_LEVELS, _FUSIONS, _SESSIONS, _CONFIRM = 0.3, 0.2, 0.3, 0.2
#: Part of the time after which no trial of a kind begins, for trials of slow models take longer than they should.
_UNTIL: Final = {"level": 0.4, "fusion": 0.6, "session": 1 - _CONFIRM, "together": 1 - _CONFIRM}
_LEAST_SECONDS: Final = 0.05
_LONGEST_TRIAL: Final = 10.0


@dataclass(frozen=True)
class TrialRecord:
    """What came of a candidate.

    Attributes:
        candidate: it.
        against: name of what it was measured against.
        outcome: in a word or two.
        times: of both, ``None`` when nothing was measured.
        reason: why not, or how it is wrong.
    """

    candidate: Candidate
    against: str
    outcome: Outcome
    times: PairedTimes | None = None
    reason: str = ""


@dataclass(frozen=True)
class Found:
    """The end of a search.

    Attributes:
        best: what to use; the original when nothing was faster.
        times: of the original and the best in the trial that confirmed it, ``None`` for the original.
        trials: all, in order.
    """

    best: Candidate
    times: PairedTimes | None
    trials: tuple[TrialRecord, ...]


class Laboratory(Protocol):
    """Makes models and measures them."""

    @property
    def is_shared(self) -> bool:
        """Whether trials at the same time would disturb each other."""

    def prepare(self, candidates: Sequence[Candidate]) -> Mapping[Candidate, tuple[Outcome, str]]:
        """Make the models of candidates; those that can't be measured, or need not be, and why."""

    def rewrites(self, candidate: Candidate) -> Mapping[str, int]:
        """Rewrites in the model of a candidate, by what can be left out: a pass or a rule."""

    def measure(
        self, pairs: Sequence[tuple[Candidate, Candidate]], seconds: float, *, drop: bool
    ) -> list[TrialResult | Exception]:
        """Measure the second of each pair against the first."""


class TuningSearch:
    """Searches.

    Args:
        laboratory: makes models and measures them.
        original: the model as it was, with the settings that everything must beat.
        threads: numbers of threads that may be tried.
        seconds: time for all trials together.
        clock: gives seconds.
        progress: told what is going on.
    """

    def __init__(
        self,
        laboratory: Laboratory,
        original: Candidate,
        threads: Sequence[int],
        *,
        seconds: float,
        clock: Callable[[], float] = time.perf_counter,
        progress: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._laboratory = laboratory
        self._original = original
        self._threads = threads
        self._seconds = seconds
        self._clock = clock
        self._progress = progress
        self._spent = 0.0
        self._trials: list[TrialRecord] = []

    def run(self) -> Found:
        """Search."""
        best = self._best(self._original, levels(self._original), _LEVELS)
        made = best
        if best is not self._original:
            best = self._without(best)
            made = best
        best = self._settings(best)
        for candidate in dict.fromkeys((best, made)):
            if candidate is self._original:
                break
            times = self._confirmed(candidate)
            if times is not None:
                return Found(candidate, times, tuple(self._trials))
        return Found(self._original, None, tuple(self._trials))

    def _best(self, incumbent: Candidate, candidates: Sequence[Candidate], share: float) -> Candidate:
        faster = self._stage(incumbent, candidates, share)
        return faster[0] if faster else incumbent

    def _without(self, incumbent: Candidate) -> Candidate:
        """The model without fusions that make it slower; without all of them if that is faster still."""
        candidates = without_fusions(incumbent, self._laboratory.rewrites(incumbent))
        faster = self._stage(incumbent, candidates, _FUSIONS)
        if len(faster) < 2:
            return faster[0] if faster else incumbent
        names = tuple(name for candidate in faster for name in candidate.disabled)
        name = f"{incumbent.level} without {', '.join(names)}"
        together = replace(incumbent, name=name, choice="together", disabled=names)
        return self._best(faster[0], [together], _FUSIONS / len(candidates))

    def _settings(self, incumbent: Candidate) -> Candidate:
        """The settings that are faster, together if that is faster still."""
        candidates = sessions(incumbent, self._threads)
        faster = self._stage(incumbent, candidates, _SESSIONS)
        if len(faster) < 2:
            return faster[0] if faster else incumbent
        change = faster[0].change
        for candidate in faster[1:]:
            change = candidate.change.merged(change)  # of two values of a setting the one that brought more
        together = replace(
            incumbent,
            name=str(change),
            choice="together",
            settings=incumbent.settings.merged(change),
            change=change,
        )
        return self._best(faster[0], [together], _SESSIONS / len(candidates))

    def _stage(self, incumbent: Candidate, candidates: Sequence[Candidate], share: float) -> list[Candidate]:
        """Measure candidates against the best so far; those that are faster, the fastest first."""
        if not candidates:
            return []
        self._progress(f"making {len(candidates)} models" if candidates[0].choice != "session" else "settings")
        left_out = self._laboratory.prepare(candidates)
        todo = [candidate for candidate in candidates if candidate not in left_out]
        seconds = self._slice(share / max(len(todo), 1))
        records: dict[Candidate, TrialRecord] = {
            candidate: TrialRecord(candidate, incumbent.name, outcome, reason=reason)
            for candidate, (outcome, reason) in left_out.items()
        }
        groups = [[candidate] for candidate in todo] if self._laboratory.is_shared else [todo]
        for group in groups:
            if self._spent >= self._seconds * _UNTIL[candidates[0].choice]:
                records |= {item: TrialRecord(item, incumbent.name, "no time") for item in group}
                continue
            self._progress(f"trying {', '.join(item.name for item in group)}")
            for item, result in zip(group, self._measured(incumbent, group, seconds, drop=True), strict=True):
                records[item] = _record(item, incumbent, result)
        self._trials += [records[candidate] for candidate in candidates]
        faster = [record for record in records.values() if record.outcome == "faster"]
        faster.sort(key=lambda record: -record.times.ratio.speedup if record.times is not None else 0.0)
        return [record.candidate for record in faster]

    def _measured(
        self, incumbent: Candidate, group: Sequence[Candidate], seconds: float, *, drop: bool
    ) -> list[TrialResult | Exception]:
        start = self._clock()
        try:
            return self._laboratory.measure([(incumbent, item) for item in group], seconds, drop=drop)
        finally:
            self._spent += self._clock() - start

    def _slice(self, share: float) -> float:
        return min(_LONGEST_TRIAL, max(_LEAST_SECONDS, self._seconds * share))

    def _confirmed(self, candidate: Candidate) -> PairedTimes | None:
        """Times beside the original, measured anew, if it is faster: what won many trials may have won one by chance."""
        self._progress(f"confirming {candidate.title}")
        seconds = self._slice(_CONFIRM)
        [result] = self._measured(self._original, [candidate], seconds, drop=False)
        record = _record(replace(candidate, name=candidate.title, choice="confirm"), self._original, result)
        self._trials.append(record)
        return record.times if record.outcome == "faster" else None


def _record(candidate: Candidate, incumbent: Candidate, result: TrialResult | Exception) -> TrialRecord:
    if isinstance(result, Exception):
        reason = " ".join(str(result).split()) or type(result).__name__
        return TrialRecord(candidate, incumbent.name, "failed", reason=reason)
    if result.times is None:
        return TrialRecord(candidate, incumbent.name, "wrong", reason=result.wrong)
    times = result.times
    faster = times.is_faster if candidate.choice == "confirm" else times.seems_faster
    outcome: Outcome = "slower" if times.dropped else "faster" if faster else "no faster"
    return TrialRecord(candidate, incumbent.name, outcome, times)
