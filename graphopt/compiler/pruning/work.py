"""One pruning, from the model that is given to the one that is kept: prepare, prune, recover, judge, measure, hold it to what it says."""

from __future__ import annotations

import functools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import numpy as np

from graphopt.compiler.artifacts import DEFAULT_BACKEND, RunnableFile, judged_as_onnx
from graphopt.compiler.environment import Environment
from graphopt.compiler.pruning.evidence import Evidence, gather_evidence
from graphopt.compiler.pruning.measured_latency import prune_to_latency
from graphopt.compiler.pruning.plans import record_plan
from graphopt.compiler.pruning.promises import check_promises
from graphopt.compiler.pruning.reporting import fill_files, gains_of, kept_text, layers_of
from graphopt.compiler.pruning.request import PruneRequest
from graphopt.compiler.pruning.result import Pruned, PruneReport
from graphopt.compiler.pruning.sensitivity import sweep
from graphopt.compiler.pruning.steps import Steps
from graphopt.compiler.pruning.trade import best_within
from graphopt.compiler.pruning.trials import Trial, Trials
from graphopt.compiler.pruning.units import Prunable, find_units
from graphopt.compiler.quantizing.budget import budget_of
from graphopt.compiler.quantizing.candidates import Stopwatch
from graphopt.compiler.quantizing.layers import sizes_of
from graphopt.compiler.quantizing.metrics import find_metric
from graphopt.compiler.quantizing.workshop import Workshop
from graphopt.compiler.result import count_ops
from graphopt.errors import PruningError, VerificationError
from graphopt.ir import Array, Model
from graphopt.numerics import Lossy
from graphopt.passes import Pipeline, PruningPlan, build_pass, structure_digest
from graphopt.plugin_manager import PluginManager
from graphopt.runtime.base import Datum, Feeds

__all__ = ["Work"]

#: Part of the time to measure that a pair of models gets.
_PAIR: Final = 0.1
#: Examples that are measured together, beside one alone.
_TOGETHER: Final = 8
#: Pipeline that a model goes through before, when nobody states one.
DEFAULT_PREPARE: Final = "O2"
#: Criteria that are taken when nobody states one.
_WITH_DATA, _WITHOUT = "reconstruction", "l2"


@dataclass(frozen=True)
class _Start:
    """The model as it came, as it was prepared, and what makes others of it."""

    original: Model
    prepared: Model
    prepare: str
    file: RunnableFile
    workshop: Workshop
    folder: Path


class Work:
    """One pruning: what is open while it goes on."""

    def __init__(
        self, source: object, request: PruneRequest, tell: Callable[[str], None], plugins: PluginManager | None
    ) -> None:
        self.source = source
        self.request = request
        self.tell = tell
        self.environment = Environment(plugins)
        self.stack = ExitStack()
        self.seconds: dict[str, float] = {}

    def __enter__(self) -> Work:
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the time of a block to a phase."""
        start = time.perf_counter()
        self.tell(phase)
        try:
            yield
        finally:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - start

    def run(self, data: object, labels: Array | None, batch: int | None, limit: int | None) -> Pruned:
        """All of it; arguments as those of :func:`graphopt.prune`."""
        request = self.request
        if not judged_as_onnx(self.environment, request.target):
            raise PruningError(
                f"models for target {request.target!r} are no ONNX files, so none can be judged; prune for --target onnx"
            )
        plan = self._plan()
        with self.timed("prepare"):
            start = self._opened(plan)
            steps = self._steps(has_data=data is not None)
            units = self._units(start)
        with self.timed("data"):
            evidence = gather_evidence(
                self.environment, request, start.original, start.file.path, start.folder, data, labels, batch, limit
            )
        trials = self._trials(start, evidence)
        report = self._report(start, evidence, units, steps)
        if request.sensitivity or request.has_budget:
            with self.timed("sensitivity"):
                report.sensitivity, report.sweep_recovers = sweep(
                    trials,
                    units.units,
                    steps,
                    self._ratios(),
                    seconds=request.seconds,
                    few=evidence.few,
                    recover=request.recover,
                )
        pruned, result = self._chosen(trials, steps, units, evidence, plan, report)
        with self.timed("report"):
            self._fill(report, trials, pruned, result, evidence)
        if request.check and report.is_pruned:
            with self.timed("check"):
                self._check(start.file.path, trials, units, pruned, result, report)
        source = structure_digest(start.original)
        recorded = record_plan(pruned.log, prepare=start.prepare, source=source) if report.is_pruned else None
        return Pruned(trials.make(result).model, report, start.workshop.backend, recorded)

    # -- before -----------------------------------------------------------------------------------------------------------------

    def _plan(self) -> PruningPlan | None:
        plan = self.request.plan
        if plan is None or isinstance(plan, PruningPlan):
            return plan
        return PruningPlan.load(cast("str", plan))

    def _opened(self, plan: PruningPlan | None) -> _Start:
        request, environment = self.request, self.environment
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="graphopt-prune-")))
        original = environment.lift(self.source)
        file = self.stack.enter_context(RunnableFile(self.source, DEFAULT_BACKEND, environment))
        workshop = Workshop(environment, request.target, folder, request.seed, self.tell)
        text = request.prepare
        if text is None:
            text = plan.prepare if plan is not None and plan.prepare else DEFAULT_PREPARE
        model, _records = workshop.run(original, Pipeline.from_text(text, environment.plugins.passes))
        for known in (original, model):
            environment.context(workshop.backend).types.infer_model(known)
        return _Start(original, model, text, file, workshop, folder)

    def _steps(self, *, has_data: bool) -> Steps:
        request = self.request
        importance = request.importance
        if importance == "auto":
            importance = _WITH_DATA if has_data else _WITHOUT
        steps = Steps(
            request.amount,
            self.environment.plugins.passes,
            importance,
            request.scope,
            request.include,
            request.exclude,
            request.round_to,
            request.min_channels,
            request.options,
        )
        steps.check_options()
        return steps

    def _units(self, start: _Start) -> Prunable:
        request = self.request
        if request.amount.kind == "plan":
            return Prunable(())
        ctx = self.environment.context(start.workshop.backend)
        found = find_units(start.prepared.graph, request.amount, request.include, request.exclude, ctx.dim_roles)
        found.check(request.amount)
        return found

    def _trials(self, start: _Start, evidence: Evidence) -> Trials:
        sizes = sizes_of(start.prepared, evidence.first)
        trials = Trials(start.prepared, start.workshop, evidence.judge, sizes, evidence.calibration, self.tell)
        self._whole = trials.prune("the prepared model", Pipeline(()))
        path = trials.make(self._whole).path
        feeds = (
            [_first_of(evidence.first, 1), _first_of(evidence.first, _TOGETHER)]
            if evidence.batched
            else [dict(evidence.first)]
        )
        request = self.request
        trials.stopwatch = Stopwatch(path, feeds, seconds=request.seconds * _PAIR, threads=request.threads)
        return trials

    def _report(self, start: _Start, evidence: Evidence, units: Prunable, steps: Steps) -> PruneReport:
        report = PruneReport(
            source=start.file.source,
            level="",
            target=self.request.target,
            pipeline=start.prepare,
            numerics=Lossy(),
            ops_before=count_ops(start.original),
            bytes_before=start.original.constant_bytes,
            seconds=self.seconds,
            asked=steps.amount.text,
        )
        if steps.amount.kind == "channels":
            report.importance = steps.importance
        report.frozen = units.frozen
        report.examples, report.metric_before = evidence.split.examples, evidence.judge.before
        report.notes += [evidence.split.note] if evidence.split.note else []
        return report

    # -- choosing ---------------------------------------------------------------------------------------------------------------

    def _ratios(self) -> Sequence[float]:
        """Parts that a sweep takes away; where no more than a ratio may go, that and what is below it."""
        amount, ratios = self.request.amount, self.request.ratios
        if amount.measure != "ratio" or not amount.value:
            return ratios
        return (*(ratio for ratio in ratios if ratio < amount.value), amount.value)

    def _chosen(
        self,
        trials: Trials,
        steps: Steps,
        units: Prunable,
        evidence: Evidence,
        plan: PruningPlan | None,
        report: PruneReport,
    ) -> tuple[Trial, Trial]:
        """The model that is kept, before and after it was recovered."""
        request = self.request
        if request.only_sweeps:
            return self._whole, self._whole
        recover = functools.partial(self._recovered, trials, steps, evidence)
        if request.has_budget:
            kind = evidence.main if request.min_sqnr is None else find_metric("sqnr")
            budget = budget_of(kind, evidence.judge.before[kind.name], request.max_accuracy_drop, request.min_sqnr)
            report.budget = budget.text
            with self.timed("search"):
                pruned, result, report.attempts = best_within(
                    trials, steps, units.units, report.sensitivity, budget, recover
                )
            return pruned, result
        with self.timed("prune"):
            if steps.amount.measure == "latency":
                pruned, tried = prune_to_latency(trials, steps)
                report.notes.append(f"latency was met after {len(tried)} models were measured")
            else:
                pruned = trials.prune("pruning", steps.stated() if plan is None else self._applying(plan))
                if pruned.model is None:
                    raise PruningError(pruned.reason)
        if not request.recover:
            return pruned, pruned
        if not evidence.real:
            report.notes.append("there is no data, so nothing was recovered; give some (--data)")
            return pruned, pruned
        with self.timed("recover"):
            return pruned, recover(pruned)

    def _applying(self, plan: PruningPlan) -> Pipeline:
        path = self.request.plan
        if isinstance(path, PruningPlan):
            folder = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="graphopt-plan-"))
            path = plan.save(Path(folder) / "plan.json")
        registry = self.environment.plugins.passes
        return Pipeline.of(build_pass(registry["apply-pruning-plan"], {"plan": os.fspath(cast("str", path))}))

    def _recovered(self, trials: Trials, steps: Steps, evidence: Evidence, pruned: Trial) -> Trial:
        if not self.request.recover or not evidence.real or pruned.reference is None:
            return pruned
        assert pruned.model is not None, "what failed can't recover"
        found = trials.recover(pruned, steps.recovering(pruned.model))
        if found.model is None:
            raise PruningError(found.reason)
        return found

    # -- after ------------------------------------------------------------------------------------------------------------------

    def _fill(self, report: PruneReport, trials: Trials, pruned: Trial, result: Trial, evidence: Evidence) -> None:
        amount = self.request.amount
        report.kept = kept_text(pruned)
        if not report.is_pruned and not self.request.only_sweeps and not amount.is_none:
            raise PruningError(
                f"nothing went: {amount.text} leaves every layer as it is; ask for more, or give a smaller --round-to"
            )
        report.metric_pruned = dict(trials.judge(pruned))
        report.metric_after = dict(trials.judge(result))
        made = trials.make(result)
        report.size_before, report.size_after = trials.whole, trials.size(result)
        fill_files(report, trials.make(self._whole), made)
        report.ops_after, report.bytes_after = count_ops(made.model), made.model.constant_bytes
        report.passes = list(result.passes)
        report.pipeline = ",".join(filter(None, (report.pipeline, result.pipeline.to_text())))
        if report.is_pruned:
            trials.measure(result)
            report.speedup = None if result.latency is None else 1 / result.latency
            report.latency_before = [statistics.median(item.first) for item in result.times or ()]
            report.latency_after = [statistics.median(item.second) for item in result.times or ()]
            report.layers = layers_of(trials, pruned, result, evidence.first, batched=evidence.batched)
            report.gains = gains_of(report, amount, made.model)

    def _check(
        self, original: str, trials: Trials, units: Prunable, pruned: Trial, result: Trial, report: PruneReport
    ) -> None:
        from graphopt.verify import check_equivalence  # lazily: imports ONNX Runtime

        report.notes += check_promises(trials, self.request.amount, units, pruned, result)
        report.verdict = check_equivalence(original, trials.make(result).path, numerics=Lossy())
        if report.verdict.status == "failed":
            raise VerificationError(f"the pruned model fails its check: {report.verdict.reason}; nothing was written")


def _first_of(feeds: Feeds, count: int) -> dict[str, Datum]:
    """The first examples of a batch."""
    return {name: array[:count] if isinstance(array, np.ndarray) else array for name, array in feeds.items()}
