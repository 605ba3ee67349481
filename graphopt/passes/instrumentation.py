"""Who watches a pipeline run: the interface, and those that time, count and limit."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from graphopt.ir import Model
from graphopt.passes.base import Pass, PassContext, PassResult
from graphopt.passes.record import PassRecord, PipelineReport

if TYPE_CHECKING:
    from graphopt.passes.pipeline import Pipeline

__all__ = ["BisectLimit", "Instrumentation", "PassStatistics", "PeakMemory", "TimePasses"]


class Instrumentation:
    """Hears of each step of a pipeline. Override what matters; only a pass may edit the model.

    The first of several is called first before a pass, and last after it.
    """

    def before_pipeline(self, pipeline: Pipeline, model: Model, ctx: PassContext) -> None:
        """A pipeline is about to run."""

    def skip_reason(self, item: Pass, model: Model, ctx: PassContext) -> str:
        """Why a pass must not run now; ``""`` lets it."""
        return ""

    def before_pass(self, item: Pass, model: Model, record: PassRecord) -> None:
        """A pass is about to run."""

    def after_pass(self, item: Pass, model: Model, result: PassResult, record: PassRecord) -> None:
        """A pass has run. What this raises counts as a failure of the pass."""

    def after_failed_pass(self, item: Pass, model: Model, error: Exception, record: PassRecord) -> None:
        """A pass has failed; the model may be in any state. Text added to ``error`` as a note is shown to people."""

    def after_pipeline(self, model: Model, report: PipelineReport) -> None:
        """A pipeline has run to its end."""


class TimePasses(Instrumentation):
    """Writes a table of times, slowest first, when a pipeline has run.

    Args:
        stream: where to.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream

    def after_pipeline(self, model: Model, report: PipelineReport) -> None:
        """Write the table."""
        (self.stream or sys.stderr).write(self.table(report))

    @staticmethod
    def table(report: PipelineReport) -> str:
        """Time and number of runs of each pass, in ms and parts of the whole."""
        times: dict[str, tuple[float, int]] = {"type inference": (report.types_ms, 1)} if report.types_ms else {}
        for record in report.runs():
            if not record.skipped:
                spent, runs = times.get(record.name, (0.0, 0))
                times[record.name] = (spent + record.ms, runs + 1)
        whole = max(report.ms, 1e-9)
        lines = [f"{'ms':>12} {'%':>6} {'runs':>5}  pass"]
        for name, (spent, runs) in sorted(times.items(), key=lambda entry: -entry[1][0]):
            lines.append(f"{spent:12.2f} {100 * spent / whole:6.1f} {runs:5d}  {name}")
        lines.append(f"{report.ms:12.2f} {100.0:6.1f} {'':5}  in all")
        return "\n".join(lines) + "\n"


class PassStatistics(Instrumentation):
    """Notes the bytes of constants around each pass, and writes what each pass counted when a pipeline has run.

    Args:
        stream: where to, ``None`` to note only.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream
        self._known: tuple[Model, int, int] | None = None

    def before_pass(self, item: Pass, model: Model, record: PassRecord) -> None:
        """Note the bytes."""
        record.bytes_before = self._bytes(model)

    def after_pass(self, item: Pass, model: Model, result: PassResult, record: PassRecord) -> None:
        """Note the bytes."""
        if result.changed:
            self._known = None  # numbers may have changed in place, which no version tells
        record.bytes_after = self._bytes(model)

    def _bytes(self, model: Model) -> int:
        version = sum(owner.version for owner in model.owners())
        if self._known is None or self._known[0] is not model or self._known[1] != version:
            self._known = (model, version, model.constant_bytes)
        return self._known[2]

    def after_pipeline(self, model: Model, report: PipelineReport) -> None:
        """Write the counts."""
        if self.stream is None:
            return
        for record in report.runs():
            nodes = f"nodes {record.nodes_before} -> {record.nodes_after}"
            size = f", bytes {record.bytes_before} -> {record.bytes_after}" if record.bytes_before is not None else ""
            self.stream.write(f"{record.text}: {record.skipped or nodes + size}\n")
            for name, count in sorted(record.stats.items()):
                self.stream.write(f"{count:12d}  {name}\n")


class PeakMemory(Instrumentation):
    """Notes the most memory that each pass took on top of what was there.

    Args:
        trace: count Python's own allocations one by one (exact, and several times slower) instead of asking the system for the
            process's highest mark, which only a pass that exceeds all before it moves.
    """

    def __init__(self, *, trace: bool = False) -> None:
        self.trace = trace
        self._before = 0
        self._started = False

    def before_pass(self, item: Pass, model: Model, record: PassRecord) -> None:
        """Note what is there."""
        if not self.trace:
            self._before = _high_mark()
            return
        if not tracemalloc.is_tracing():
            tracemalloc.start()
            self._started = True
        tracemalloc.reset_peak()
        self._before = tracemalloc.get_traced_memory()[0]

    def after_pass(self, item: Pass, model: Model, result: PassResult, record: PassRecord) -> None:
        """Note what was added."""
        now = tracemalloc.get_traced_memory()[1] if self.trace else _high_mark()
        record.peak_bytes = max(0, now - self._before)

    def after_failed_pass(self, item: Pass, model: Model, error: Exception, record: PassRecord) -> None:
        """Stop counting."""
        self._stop()

    def after_pipeline(self, model: Model, report: PipelineReport) -> None:
        """Stop counting."""
        self._stop()

    def _stop(self) -> None:
        if self._started:
            tracemalloc.stop()
            self._started = False


def _high_mark() -> int:
    """Highest resident memory of this process so far, in bytes; 0 where the system does not say."""
    try:
        import resource  # missing on some systems
    except ImportError:
        return 0
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if sys.platform == "darwin" else found * 1024


class BisectLimit(Instrumentation):
    """Stops editing after the N-th application of a pipeline, so that a search can find the one at fault.

    Args:
        limit: the last number that is admitted.
        stream: told what the last one was, when the pipeline has run.
    """

    def __init__(self, limit: int, stream: TextIO | None = None) -> None:
        self.limit = limit
        self.stream = stream

    def before_pipeline(self, pipeline: Pipeline, model: Model, ctx: PassContext) -> None:
        """Set the limit."""
        ctx.applications.limit = self.limit

    def after_pipeline(self, model: Model, report: PipelineReport) -> None:
        """Say where it stopped."""
        if self.stream is not None:
            self.stream.write(f"{describe_limit(self.limit, report.applications)}\n")


def describe_limit(limit: int, applications: Sequence[object]) -> str:
    """What a limit left to be applied."""
    if len(applications) < limit:
        return f"bisect limit {limit}: not reached, {len(applications)} applications in all"
    return f"bisect limit {limit}: the last one is {applications[-1] if applications else 'none'}"
