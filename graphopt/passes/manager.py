"""Runs passes on a model, in order, and keeps account of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence

import numpy as np

from graphopt.errors import GraphoptError, PassError, PipelineError
from graphopt.ir import Model, collector_paused
from graphopt.numerics import weakest
from graphopt.passes.base import Pass, PassContext, PassResult
from graphopt.passes.instrumentation import Instrumentation
from graphopt.passes.options import options_text
from graphopt.passes.pipeline import Fixpoint, Item, Pipeline
from graphopt.passes.record import PassRecord, PipelineReport, count_nodes
from graphopt.rewriting import Journal

__all__ = ["PassManager"]

logger = logging.getLogger(__name__)

_LISTED = 12


class PassManager:
    """Runs a pipeline.

    Each pass sees the main graph and then, unless it says otherwise, the body of each function. Types of the whole model are inferred
    once, before the first pass that needs them; rewriters keep them current afterwards.

    Args:
        items: a pipeline, or passes and groups.
        instrumentations: who watches, skips and checks.

    Example:
        >>> from graphopt.ir import GraphBuilder
        >>> from graphopt.transforms.canonicalize import Canonicalize
        >>> b = GraphBuilder(opset=17)
        >>> _ = b.output(b.Neg(b.Neg(b.input("x"))), "y")
        >>> dict(PassManager([Canonicalize()]).run(b.model).stats)
        {'shorten-unary-chain': 1}
    """

    def __init__(self, items: Pipeline | Iterable[Item], instrumentations: Sequence[Instrumentation] = ()) -> None:
        self.pipeline = items if isinstance(items, Pipeline) else Pipeline(tuple(items))
        self.instrumentations = tuple(instrumentations)

    def run(self, model: Model, ctx: PassContext | None = None) -> PipelineReport:
        """Run the pipeline on a model, in place.

        Args:
            model: the model; when a pass fails it is left as the pass left it.
            ctx: what the passes may use.

        Returns:
            What each pass did and took.

        Raises:
            PassError: if a pass fails: names it and the passes that ran before it.
            GraphoptError: other errors of graphopt pass through with the same said in a note.
        """
        return _Run(self.pipeline, self.instrumentations, model, PassContext() if ctx is None else ctx).run()


class _Run:
    """The state of one run."""

    def __init__(
        self, pipeline: Pipeline, instrumentations: tuple[Instrumentation, ...], model: Model, ctx: PassContext
    ) -> None:
        self.pipeline = pipeline
        self.watchers = instrumentations
        self.model = model
        self.ctx = ctx
        self.report = PipelineReport()
        self.ran: list[str] = []
        self.counted = ((-1, -1), 0)
        self.changes = 0
        self.inside = ""
        self.settled: dict[tuple[type[Pass], Pass], int] = {}

    def run(self) -> PipelineReport:
        report, log = self.report, self.ctx.applications.log
        start, first = time.perf_counter(), len(log)
        for watcher in self.watchers:
            watcher.before_pipeline(self.pipeline, self.model, self.ctx)
        report.nodes_before = report.nodes_after = self.node_count()
        outer, self.ctx.journal = self.ctx.journal, Journal()
        try:
            for item in self.pipeline.items:
                self.run_item(item, report.records)
        finally:
            self.ctx.journal.close()
            self.ctx.journal = outer
            report.ms = 1e3 * (time.perf_counter() - start)
            report.nodes_after = self.node_count()
            report.applications = log[first:]
            report.numerics = weakest(record.numerics for record in report.runs() if record.changed)
            self.ctx.applications.pass_name = ""
        for watcher in reversed(self.watchers):
            watcher.after_pipeline(self.model, report)
        return report

    def node_count(self) -> int:
        """Nodes in the model; counted again only after an edit."""
        version = (len(self.model.functions), sum(owner.version for owner in self.model.owners()))
        if self.counted[0] != version:
            self.counted = (version, count_nodes(self.model))
        return self.counted[1]

    def run_item(self, item: Item, records: list[PassRecord]) -> bool:
        """Run a pass or group; says whether anything changed."""
        return self.run_group(item, records) if isinstance(item, Fixpoint) else self.run_pass(item, records)

    def run_group(self, group: Fixpoint, records: list[PassRecord]) -> bool:
        """Repeat until each member in turn found nothing to do."""
        record = PassRecord("fixpoint", nodes_before=self.node_count(), nodes_after=self.node_count(), rounds=1)
        record.first_application = self.ctx.applications.count + 1
        records.append(record)
        start = time.perf_counter()
        idle = 0
        try:
            while group.items:
                for item in group.items:
                    idle = 0 if self.run_item(item, record.children) else idle + 1
                    if idle >= len(group.items):
                        return record.changed
                    record.changed = record.changed or not idle
                if record.rounds >= group.max_rounds:
                    record.converged = False
                    names = ", ".join(dict.fromkeys(child.name for child in record.children))
                    logger.warning("fixpoint(%s) still changes the model after %d rounds", names, record.rounds)
                    return record.changed
                record.rounds += 1
            return False
        finally:
            record.ms = 1e3 * (time.perf_counter() - start)
            record.nodes_after = self.node_count()
            record.last_application = self.ctx.applications.count
            record.numerics = weakest(child.numerics for child in record.children if child.changed)

    def run_pass(self, item: Pass, records: list[PassRecord]) -> bool:
        """Run a pass; says whether it changed anything."""
        ctx = self.ctx
        record = PassRecord(item.name, _options(item), numerics=item.declared_numerics)
        record.nodes_before = record.nodes_after = self.node_count()
        record.first_application, record.last_application = ctx.applications.count + 1, ctx.applications.count
        records.append(record)
        key = _key(item)
        record.skipped = self.skip_reason(item, key)
        if record.skipped:
            return False
        ctx.applications.pass_name = item.name
        ctx.progress(item.name)
        try:
            self.infer_types(item)
            for watcher in self.watchers:
                watcher.before_pass(item, self.model, record)
            start = time.perf_counter()
            try:
                result = self.apply(item)
                if result.changed and not item.keeps_types:
                    ctx.typed = None
                self.account(item, result, record)
            finally:
                record.ms = 1e3 * (time.perf_counter() - start)
            for watcher in reversed(self.watchers):
                watcher.after_pass(item, self.model, result, record)
        except Exception as err:
            self.report.failed = record
            error = self.failure(item, record, err)
            if error is err:
                raise
            raise error from err
        self.ran.append(item.name)
        self.changes += result.changed
        if key is not None and (item.idempotent or not result.changed):
            self.settled[key] = self.changes
        return result.changed

    def skip_reason(self, item: Pass, key: tuple[type[Pass], Pass] | None) -> str:
        """Why a pass is not run; one that found nothing to do, or does all at once, would find nothing in the same model."""
        if not self.ctx.applications.admits(item.name, ""):
            return "the limit of applications is reached" if self.ctx.applications.exhausted else "left out"
        if key is not None and self.settled.get(key) == self.changes:
            return "nothing changed since it ran"
        for watcher in self.watchers:
            reason = watcher.skip_reason(item, self.model, self.ctx)
            if reason:
                return reason
        return ""

    def infer_types(self, item: Pass) -> None:
        if self.ctx.typed is self.model or not item.needs_types:
            return
        self.ctx.typed = self.model
        if self.ctx.journal is not None:
            self.ctx.journal.forget()  # what was not known when rules looked may be known now
        start = time.perf_counter()
        self.ctx.types.infer_model(self.model)
        self.report.types_ms = 1e3 * (time.perf_counter() - start)

    def apply(self, item: Pass) -> PassResult:
        """Run a pass; while this is at work, what is raised is the pass's own."""
        self.inside = item.name
        with collector_paused(), np.errstate(all="ignore"):  # weights may hold anything: passes look at what comes out
            result = self.run_on_graphs(item)
        self.inside = ""
        return result

    def run_on_graphs(self, item: Pass) -> PassResult:
        """Run a pass on the main graph, and on functions if it wants to."""
        result = item.run(self.model.graph, self.ctx)
        if not item.per_function or not self.model.functions:
            return result
        changed, stats = result.changed, dict(result.stats)
        for function in list(self.model.functions.values()):
            if self.model.functions.get(function.key) is function:  # not removed meanwhile
                more = item.run(function.graph, self.ctx)
                changed = changed or more.changed
                for name, count in more.stats.items():
                    stats[name] = stats.get(name, 0) + count
        return PassResult(changed, stats)

    def account(self, item: Pass, result: PassResult, record: PassRecord) -> None:
        """Write down what a pass did; one that does not number its edits is one application."""
        applications = self.ctx.applications
        if result.changed and applications.count < record.first_application:
            applications.record(item.name, "")
        record.changed = result.changed
        record.stats = dict(result.stats)
        record.nodes_after = self.node_count()
        record.last_application = applications.count

    def failure(self, item: Pass, record: PassRecord, err: Exception) -> Exception:
        """The error to raise: names the pass and those that ran before it."""
        if not self.ran:
            before = "no pass ran before it"
        else:
            listed = ", ".join(self.ran[-_LISTED:])
            more = f" and {len(self.ran) - _LISTED} before these" if len(self.ran) > _LISTED else ""
            before = f"passes already run: {listed}{more}"
        error: Exception
        if isinstance(err, GraphoptError) and not isinstance(err, PassError):
            err.add_note(f"in pass {record.text!r}; {before}")
            error = err
        else:
            what = str(err) if isinstance(err, PassError) else f"{type(err).__name__}: {err}"
            error = PassError(f"pass {record.text!r}: {what}; {before}")
            if isinstance(err, PassError):
                error.rule, error.node = err.rule, err.node
        if isinstance(error, GraphoptError):
            error.pass_name = self.inside
        for watcher in reversed(self.watchers):
            watcher.after_failed_pass(item, self.model, error, record)
        return error


def _key(item: Pass) -> tuple[type[Pass], Pass] | None:
    """What equal passes share, ``None`` when an option can't be hashed."""
    try:
        hash(item)
    except TypeError:
        return None
    return type(item), item


def _options(item: Pass) -> str:
    try:
        return options_text(item)
    except PipelineError:  # a pass made in Python may hold what no text can say
        return ""
