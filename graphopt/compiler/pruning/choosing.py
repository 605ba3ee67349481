"""Which model is kept: by a stated amount, by a plan, by measured time, or by a budget of accuracy."""

from __future__ import annotations

from collections.abc import Sequence

from graphopt.compiler.pruning.evidence import Evidence
from graphopt.compiler.pruning.measured_latency import prune_to_latency
from graphopt.compiler.pruning.request import PruneRequest
from graphopt.compiler.pruning.result import PruneReport
from graphopt.compiler.pruning.sensitivity import sweep
from graphopt.compiler.pruning.steps import Steps
from graphopt.compiler.pruning.trade import best_within
from graphopt.compiler.pruning.trials import Trial, Trials
from graphopt.compiler.pruning.units import Prunable
from graphopt.compiler.quantizing.budget import budget_of
from graphopt.compiler.quantizing.metrics import find_metric
from graphopt.errors import PruningError
from graphopt.passes import Pipeline

__all__ = ["Choice"]


class Choice:
    """Chooses.

    Args:
        request: what is asked for.
        trials: makes and judges.
        steps: make pipelines.
        units: what can be pruned.
        evidence: data.
        report: told of what was tried.
    """

    def __init__(
        self,
        request: PruneRequest,
        trials: Trials,
        steps: Steps,
        units: Prunable,
        evidence: Evidence,
        report: PruneReport,
    ) -> None:
        self._request, self._trials, self._steps = request, trials, steps
        self._units, self._evidence, self._report = units, evidence, report

    def look_at_each(self) -> None:
        """Prune each layer or group alone."""
        request = self._request
        self._report.sensitivity, self._report.sweep_recovers = sweep(
            self._trials,
            self._units.units,
            self._steps,
            self._ratios(),
            seconds=request.seconds,
            noise=self._evidence.noise,
            few=self._evidence.few,
            recover=request.recover,
        )

    def _ratios(self) -> Sequence[float]:
        """Parts that a sweep takes away; where no more than a ratio may go, that and what is below it."""
        amount, ratios = self._request.amount, self._request.sweep_ratios
        if amount.measure != "ratio" or not amount.value:
            return ratios
        return (*(ratio for ratio in ratios if ratio < amount.value), amount.value)

    def within_budget(self) -> tuple[Trial, Trial]:
        """As much goes as accuracy allows: the model before and after it was recovered.

        Raises:
            PruningError: if nothing can go.
        """
        request, report, before = self._request, self._report, self._evidence.judge.before
        kind = self._evidence.main if request.min_sqnr is None else find_metric("sqnr")
        budget = budget_of(kind, before[kind.name], request.max_accuracy_drop, request.min_sqnr)
        report.budget = budget.text
        pruned, result, report.attempts = best_within(
            self._trials, self._steps, self._units.units, report.sensitivity, budget, self.recovered
        )
        report.notes.append(
            f"which model is kept was decided on the {report.examples:,} held-out examples that it is judged on; evaluate it on others too"
        )
        return pruned, result

    def as_stated(self, applying: Pipeline | None) -> Trial:
        """As much goes as somebody says.

        Args:
            applying: what prunes by a plan, ``None`` without one.

        Raises:
            PruningError: if that can't be.
        """
        trials, steps = self._trials, self._steps
        if steps.amount.measure == "latency":
            found, tried = prune_to_latency(trials, steps)
            self._report.notes.append(f"latency was met after {len(tried)} models were measured")
            return found
        found = trials.prune("pruning", steps.stated() if applying is None else applying)
        if found.model is None:
            raise PruningError(found.reason)
        return found

    def recovered(self, pruned: Trial) -> Trial:
        """A pruned model that made up for what it lost, the same one where that is not wanted or there is no data.

        Where most weights become zero they do so in a few steps, with recovery between.

        Raises:
            PruningError: if it can't.
        """
        if not self._request.recover or not self._evidence.real or pruned.reference is None:
            return pruned
        slower = self._steps.in_steps(pruned.pipeline)
        if slower != pruned.pipeline:
            pruned = self._trials.prune(f"{pruned.name}, in steps", slower)
        if pruned.model is None:
            raise PruningError(pruned.reason)
        found = self._trials.recover(pruned, self._steps.recovering(pruned.model))
        if found.model is None:
            raise PruningError(found.reason)
        return found
