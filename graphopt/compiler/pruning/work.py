"""One pruning, from the model that is given to the one that is kept: prepare, prune, recover, judge, measure, hold it to what it says."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Final

from graphopt.compiler.environment import Environment
from graphopt.compiler.phases import Phases
from graphopt.compiler.pruning.choosing import Choice
from graphopt.compiler.pruning.evidence import Evidence, gather_evidence
from graphopt.compiler.pruning.opening import Start, open_model, steps_of, units_of
from graphopt.compiler.pruning.plans import record_plan
from graphopt.compiler.pruning.promises import check_promises
from graphopt.compiler.pruning.reporting import fill_files, gains_of, kept_text, layers_of
from graphopt.compiler.pruning.request import PruneRequest
from graphopt.compiler.pruning.result import Pruned, PruneReport
from graphopt.compiler.pruning.steps import Steps
from graphopt.compiler.pruning.trials import Trial, Trials
from graphopt.compiler.pruning.units import Prunable
from graphopt.compiler.quantizing.candidates import Stopwatch
from graphopt.compiler.quantizing.material import timed_feeds
from graphopt.compiler.result import count_ops
from graphopt.errors import PruningError, VerificationError
from graphopt.ir import Array
from graphopt.numerics import Lossy
from graphopt.passes import Pipeline, structure_digest
from graphopt.plugin_manager import PluginManager

__all__ = ["Work"]

#: Part of the time to measure that a pair of models gets.
_PAIR: Final = 0.1
_UNRECOVERED: Final = "nothing was recovered: no layer with constant float weights could be fitted; a quantized model is pruned before that"


class Work(Phases):
    """One pruning: what is open while it goes on."""

    def __init__(
        self, source: object, request: PruneRequest, tell: Callable[[str], None], plugins: PluginManager | None
    ) -> None:
        super().__init__(tell)
        self.source = source
        self.request = request
        self.environment = Environment(plugins)

    def run(self, data: object, labels: Array | None, batch: int | None, limit: int | None) -> Pruned:
        """All of it; arguments as those of :func:`graphopt.prune`."""
        request, environment = self.request, self.environment
        with self.timed("prepare"):
            start = open_model(self.source, request, environment, self.stack, self.tell)
            steps = steps_of(start, request, has_data=data is not None)
            units = units_of(start, request)
        with self.timed("data"):
            evidence = gather_evidence(
                environment, request, start.original, start.file.path, start.folder, data, labels, batch, limit
            )
        trials, whole = self._trials(start, evidence)
        report = self._report(start, evidence, units, steps)
        choice = Choice(request, trials, steps, units, evidence, report)
        if request.sensitivity or request.has_budget:
            with self.timed("sensitivity"):
                choice.look_at_each()
        pruned = result = whole
        if request.has_budget:
            with self.timed("search"):
                pruned, result = choice.within_budget()
        elif not request.only_sweeps:
            with self.timed("prune"):
                pruned = choice.as_stated(start.applying)
            with self.timed("recover"):
                result = choice.recovered(pruned)
        if not request.only_sweeps:
            report.notes += self._of_recovery(pruned, result, evidence)
        with self.timed("report"):
            self._fill(report, trials, whole, pruned, result, evidence)
        if request.check and report.is_pruned:
            with self.timed("check"):
                self._check(start.file.path, trials, units, pruned, result, report)
        source = structure_digest(start.original)
        plan = record_plan(result.log, prepare=start.prepare, source=source) if report.is_pruned else None
        return Pruned(trials.make(result).model, report, start.workshop.backend, plan)

    def _of_recovery(self, pruned: Trial, result: Trial, evidence: Evidence) -> list[str]:
        """What people should know of how the model was recovered."""
        if not self.request.recover:
            return []
        if not evidence.real:
            return ["there is no data, so nothing was recovered; give some (--data)"]
        if any(record.changed for record in result.passes[len(pruned.passes) :]):
            return [evidence.doubt] if evidence.doubt else []
        return [_UNRECOVERED] if pruned.reference is not None else []

    def _trials(self, start: Start, evidence: Evidence) -> tuple[Trials, Trial]:
        """What makes models, and the prepared one, which all others are measured beside."""
        request, first = self.request, evidence.first
        trials = Trials(start.prepared, start.workshop, evidence.judge, first, evidence.calibration, self.tell)
        whole = trials.prune("the prepared model", Pipeline(()))
        feeds = timed_feeds(first, batched=evidence.batched)
        path = trials.make(whole).path
        trials.stopwatch = Stopwatch(path, feeds, seconds=request.seconds * _PAIR, threads=request.threads)
        return trials, whole

    def _report(self, start: Start, evidence: Evidence, units: Prunable, steps: Steps) -> PruneReport:
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
        report.notes += evidence.notes
        return report

    def _fill(
        self, report: PruneReport, trials: Trials, whole: Trial, pruned: Trial, result: Trial, evidence: Evidence
    ) -> None:
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
        fill_files(report, trials.make(whole), made)
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
