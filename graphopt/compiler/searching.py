"""The search for what makes a result wrong: first the run of a pass, then the rewrite in it.

A pipeline is run again and again from the original, stopped after some run of a pass (rounds of a fixpoint count each), then after some
application in the first run of a pass whose result is wrong. What is named was seen: right before it, wrong after it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from graphopt.compiler.compilation import Attempt, Compilation
from graphopt.compiler.judging import Outcome
from graphopt.ir import Model
from graphopt.numerics import Numerics, weakest
from graphopt.passes import Instrumentation, Pass, PassContext, PassRecord
from graphopt.rewriting import EVERYWHERE, Application, Applications, Site
from graphopt.verify.bisection import first_wrong

__all__ = ["Found", "PassWindow", "Search", "Trial"]

_BEYOND: Final = "beyond the runs of passes that are looked at"


class PassWindow(Instrumentation):
    """Lets the first runs of passes happen, and notes them.

    Args:
        limit: how many; ``None`` for all.

    Attributes:
        runs: the records of those that began.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.runs: list[PassRecord] = []

    def skip_reason(self, item: Pass, model: Model, ctx: PassContext) -> str:
        """Skip what is beyond."""
        return _BEYOND if self.limit is not None and len(self.runs) >= self.limit else ""

    def before_pass(self, item: Pass, model: Model, record: PassRecord) -> None:
        """Note that a pass runs."""
        self.runs.append(record)

    def after_failed_pass(self, item: Pass, model: Model, error: Exception, record: PassRecord) -> None:
        """Note a pass that failed before it began."""
        if record not in self.runs[-1:]:
            self.runs.append(record)

    @property
    def numerics(self) -> Numerics:
        """What those that changed something declare together."""
        return weakest(record.numerics for record in self.runs if record.changed)


@dataclass(frozen=True, slots=True)
class Trial:
    """A run of a part of the pipeline.

    Attributes:
        passes: how many runs of passes there were at most, ``None`` for all.
        limit: how many applications at most, ``None`` for all.
        outcome: what became of it.
        runs: records of the passes that ran.
        log: what was applied.
        next: position of the first pass that did not run any more: index in the pipeline, then (round, index) in each group around it.
    """

    passes: int | None
    limit: int | None
    outcome: Outcome
    runs: tuple[PassRecord, ...]
    log: tuple[Application, ...]
    next: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What makes a result wrong.

    Attributes:
        run: number of the run of a pass, from 1; 0 when the result is wrong before any.
        record: of that run.
        application: the rewrite; ``None`` when the pass does not number its edits.
        before: the last right run of the pipeline.
        after: the first wrong one.
        everywhere: whether the rule or pass failed as a whole, as by an exception.
    """

    run: int
    record: PassRecord | None
    application: Application | None
    before: Trial | None
    after: Trial
    everywhere: bool = False

    @property
    def skip(self) -> Site | None:
        """What a run has to leave out, ``None`` when no pass is at fault."""
        if self.record is None:
            return None
        if self.application is None:
            return self.record.name, EVERYWHERE
        return self.application.rule, EVERYWHERE if self.everywhere else self.application.site


@dataclass
class Search:
    """Runs parts of a pipeline.

    Attributes:
        work: what is run.
        judge: what became of a run.
        is_failure: which outcomes count.
        skip: rewrites that are left out anyway.
        told: told of each run, in a few words.
        count: how many runs there were.
    """

    work: Compilation
    judge: Callable[[Attempt, Numerics], Outcome]
    is_failure: Callable[[Outcome], bool] = lambda outcome: outcome.kind is not None
    skip: frozenset[Site] = frozenset()
    told: Callable[[str], None] = lambda text: None
    count: int = 0
    _known: dict[tuple[int | None, int | None], Trial] = field(default_factory=dict)

    def trial(self, passes: int | None = None, limit: int | None = None) -> Trial:
        """Run a part of the pipeline, unless that was done before."""
        key = (passes, limit)
        if key not in self._known:
            self._known[key] = self.run(passes, limit)[0]
        return self._known[key]

    def run(self, passes: int | None = None, limit: int | None = None) -> tuple[Trial, Attempt]:
        """Run a part of the pipeline; the model too."""
        self.count += 1
        self.told(f"run {self.count}")
        window = PassWindow(passes)
        attempt = self.work.attempt(Applications(limit, self.skip), [window])
        outcome = self.judge(attempt, window.numerics)
        following = () if attempt.report is None else _first_beyond(attempt.report.records)
        return Trial(passes, limit, outcome, tuple(window.runs), tuple(attempt.applications.log), following), attempt

    def fails(self, trial: Trial) -> bool:
        """Whether a run fails in a way that counts."""
        return self.is_failure(trial.outcome)

    def find(self) -> Found | None:
        """The first run of a pass, and the rewrite in it, after which the result is wrong; ``None`` if the whole pipeline is right."""
        whole = self.trial()
        if not self.fails(whole):
            return None
        start = self.trial(0)
        if self.fails(start):
            return Found(0, None, None, None, start)
        run = first_wrong(lambda number: not self.fails(self.trial(number)), 0, len(whole.runs))
        after = self.trial(run) if run < len(whole.runs) else whole
        return self._in_pass(run, self.trial(run - 1), after)

    def _in_pass(self, run: int, before: Trial, after: Trial) -> Found:
        """The application in a run of a pass."""
        record = after.runs[run - 1]
        first, last = len(before.log), len(after.log)
        if after.outcome.kind == "exception":
            last = len(after.log)
            if last == first or not self.fails(self.trial(run, last)):  # right until it was raised
                good = self.trial(run, last) if last > first else before
                return Found(run, record, _raised(after), good, after, everywhere=True)
        if last == first or not self.fails(self.trial(run, last)):  # edits that have no number
            return Found(run, record, None, before, after, everywhere=True)
        number = first_wrong(lambda limit: not self.fails(self.trial(run, limit)), first, last)
        good = before if number - 1 == first else self.trial(run, number - 1)
        bad = self.trial(run, number)
        application = bad.log[-1]
        return Found(run, record, application, good, bad, everywhere=not application.site)


def _raised(trial: Trial) -> Application:
    """The application that was never finished: its number would be the next one."""
    outcome, name = trial.outcome, trial.runs[-1].name
    return Application(len(trial.log) + 1, name, outcome.rule or name, outcome.node)


def _first_beyond(records: list[PassRecord]) -> tuple[int, ...]:
    """Where the first pass stands that was beyond the window."""
    for index, record in enumerate(records, 1):
        if record.skipped == _BEYOND:
            return (index,)
        if record.is_group:
            inside = _first_beyond(record.children)
            if inside:
                return (index, *inside)
    return ()
