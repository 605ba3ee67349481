"""One way to optimize one source, which can be run again with fewer rewrites."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from graphopt.compiler.environment import Environment
from graphopt.ir import Model
from graphopt.passes import Instrumentation, Pipeline, PipelineReport
from graphopt.rewriting import Applications, Explain, Site
from graphopt.serde import collector_paused

__all__ = ["Compilation"]


def _nobody(text: str) -> None:
    """Takes progress when nobody asked for it."""


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

    def run(
        self,
        model: Model,
        applications: Applications | None = None,
        instrumentations: Sequence[Instrumentation] | None = None,
    ) -> PipelineReport:
        """Run the pipeline on a lifted model and legalize it, in place."""
        backend = self.environment.backend(self.target)
        allowed = Applications() if applications is None else applications
        allowed.skip |= self.skip
        if self.limit is not None:
            allowed.limit = self.limit if allowed.limit is None else min(self.limit, allowed.limit)
        ctx = self.environment.context(
            backend, applications=allowed, explain=self.explain, progress=self.progress, seed=self.seed
        )
        watchers = self.instrumentations if instrumentations is None else instrumentations
        with collector_paused():
            with self.timed("passes"):
                report = self.environment.run_pipeline(model, self.pipeline, ctx, watchers)
            with self.timed("legalize"):
                self.environment.legalize(model, backend, ctx)
        return report
