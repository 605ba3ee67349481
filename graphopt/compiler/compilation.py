"""One way to optimize one source, which can be run again with fewer rewrites."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from graphopt.backends.base import Backend
from graphopt.compiler.environment import Environment
from graphopt.errors import GraphoptError
from graphopt.ir import Model, verify
from graphopt.numerics import Exact, Numerics
from graphopt.passes import CalibrationSource, Instrumentation, PassContext, Pipeline, PipelineReport
from graphopt.rewriting import Applications, EditTrace, Explain, Site
from graphopt.serde import collector_paused

__all__ = ["Attempt", "Compilation"]


def _nobody(text: str) -> None:
    """Takes progress when nobody asked for it."""


@dataclass(slots=True)
class Attempt:
    """One run that may have failed.

    Attributes:
        applications: what was applied.
        model: the result, legalized; ``None`` when it was not made.
        report: what passes did, ``None`` when one failed.
        error: what went wrong, ``None`` when nothing did.
        stage: where it went wrong: in a pass; in the graph that the passes left; when that was made ready for the target.
    """

    applications: Applications
    model: Model | None = None
    report: PipelineReport | None = None
    error: Exception | None = None
    stage: Literal["", "passes", "graph", "legalize"] = ""

    @property
    def numerics(self) -> Numerics:
        """What the passes that changed something declare."""
        return Exact() if self.report is None else self.report.numerics


@dataclass
class Compilation:
    """One way to optimize one source, which can be run again with fewer rewrites.

    Attributes:
        source: what to lift; lifted anew for each run.
        environment: plugins.
        pipeline: what to run.
        target: name of the backend.
        instrumentations: who watches the pipeline.
        explain: told of rules that did not apply.
        progress: told what is going on.
        seed: of random numbers that passes draw.
        skip: rewrites that are refused in every run.
        limit: number of the last rewrite that is applied in any run, ``None`` for all.
        calibration: data for passes that need some.
        trace: hears of all edits of a run of the pipeline, ``None`` when nobody asks; one for each run.
        seconds: time by phase.
    """

    source: object
    environment: Environment
    pipeline: Pipeline
    target: str
    instrumentations: Sequence[Instrumentation] = ()
    explain: Explain | None = None
    progress: Callable[[str], None] = _nobody
    seed: int = 0
    skip: frozenset[Site] = frozenset()
    limit: int | None = None
    calibration: CalibrationSource | None = None
    trace: Callable[[], EditTrace] | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the time of a block to a phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - start

    def lift(self) -> Model:
        """The model as it was."""
        self.progress("lift")
        with self.timed("lift"):
            return self.environment.lift(self.source)

    def attempt(
        self,
        applications: Applications,
        instrumentations: Sequence[Instrumentation] = (),
        *,
        model: Model | None = None,
        sound: bool = True,
    ) -> Attempt:
        """Lift, run the pipeline and legalize; what goes wrong on the way is part of the answer.

        Args:
            applications: admits and numbers rewrites.
            instrumentations: who watches.
            model: what was lifted already.
            sound: whether the graph that the passes left is verified.
        """
        made = Attempt(applications)
        model = self.lift() if model is None else model
        backend, ctx = self._context(applications)
        with collector_paused():
            try:
                made.stage = "passes"
                made.report = self._passes(model, ctx, instrumentations)
                made.stage = "graph"
                if sound:
                    verify(model)
            except GraphoptError as err:
                made.error = err
                return made
            try:
                made.stage = "legalize"
                self._legalize(model, backend, ctx)
            except Exception as err:  # noqa: BLE001 - the border to a stranger's rewrites, which may leave anything
                made.error = err
                return made
        made.stage, made.model = "", model
        return made

    def _context(self, applications: Applications | None) -> tuple[Backend, PassContext]:
        backend = self.environment.backend(self.target)
        allowed = Applications() if applications is None else applications
        allowed.skip |= self.skip
        if self.limit is not None:
            allowed.limit = self.limit if allowed.limit is None else min(self.limit, allowed.limit)
        ctx = self.environment.context(
            backend,
            applications=allowed,
            explain=self.explain,
            progress=self.progress,
            seed=self.seed,
            calibration=self.calibration,
        )
        return backend, ctx

    def _passes(
        self, model: Model, ctx: PassContext, instrumentations: Sequence[Instrumentation] | None
    ) -> PipelineReport:
        watchers = self.instrumentations if instrumentations is None else instrumentations
        trace = None if self.trace is None else self.trace()
        owners = list(model.owners())
        if trace is not None:
            ctx.applications.heard = trace.applied
            for owner in owners:
                owner.listeners.append(trace)
        try:
            with self.timed("passes"):
                return self.environment.run_pipeline(model, self.pipeline, ctx, watchers)
        finally:
            if trace is not None:
                for owner in owners:
                    owner.listeners.remove(trace)

    def _legalize(self, model: Model, backend: Backend, ctx: PassContext) -> None:
        with self.timed("legalize"):
            self.environment.legalize(model, backend, ctx)
