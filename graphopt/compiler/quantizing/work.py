"""One quantization, from the model that is given to the one that is kept: prepare, split the data, search, finish, report, check."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final

from graphopt.compiler.calibration.data import input_specs
from graphopt.compiler.environment import Environment
from graphopt.compiler.phases import Phases
from graphopt.compiler.quantizing.assembling import fill_report
from graphopt.compiler.quantizing.budget import budget_of
from graphopt.compiler.quantizing.candidates import Candidate, Stopwatch, Trials
from graphopt.compiler.quantizing.examples import is_batched
from graphopt.compiler.quantizing.finishing import finish
from graphopt.compiler.quantizing.layers import Prospects, prospects_of, sizes_of
from graphopt.compiler.quantizing.material import Material, calibration_of, find_material, timed_feeds, view_of_few
from graphopt.compiler.quantizing.opening import WHOLE, Start, open_model, refuse_target
from graphopt.compiler.quantizing.plan import Plan, Settings
from graphopt.compiler.quantizing.request import QuantizeRequest, chosen_layers
from graphopt.compiler.quantizing.result import Quantized, QuantizeReport
from graphopt.compiler.quantizing.search import best_form
from graphopt.compiler.quantizing.stated import TOLD, stated_form
from graphopt.compiler.quantizing.task import Task
from graphopt.compiler.result import count_ops
from graphopt.errors import QuantizationError, VerificationError
from graphopt.ir import Array, Model
from graphopt.numerics import Lossy
from graphopt.passes import Pipeline
from graphopt.plugin_manager import PluginManager
from graphopt.runtime.processor import this_processor

__all__ = ["Work"]

#: Part of the time for a pair of models.
_PAIR: Final = 0.04
#: The prepared model is as fast as the original when it is no slower than this, as measurements go.
_AS_FAST: Final = 0.97


class Work(Phases):
    """One quantization: what is open while it goes on."""

    def __init__(
        self, source: object, request: QuantizeRequest, tell: Callable[[str], None], plugins: PluginManager | None
    ) -> None:
        super().__init__(tell)
        self.source = source
        self.request = request
        self.environment = Environment(plugins)

    def run(self, data: object, labels: Array | None, batch: int | None, limit: int | None) -> Quantized:
        """All of it; arguments as those of :func:`graphopt.quantize`."""
        request, environment = self.request, self.environment
        refuse_target(request, environment)
        with self.timed("prepare"):
            start = open_model(self.source, request, environment, self.stack, self.tell)
        with self.timed("data"):
            material = find_material(data, labels, batch, limit, request, start)
        scheme = start.workshop.backend.target.quantization
        sizes = sizes_of(start.prepared, material.split.held_out[0][0])
        prospects = prospects_of(start.prepared, scheme, this_processor(), sizes)
        report = self._report(start, material, prospects)
        kind = material.main
        budget = budget_of(kind, material.judge.before[kind.name], request.max_accuracy_drop, request.min_sqnr)
        left = chosen_layers(prospects.layers, request.include, request.exclude)
        layers = [layer for layer in prospects.layers if layer.name not in left]
        if not layers and request.form not in WHOLE:
            raise QuantizationError(
                "every layer is left out"
                if left
                else f"nothing to quantize in {start.file.source}: {prospects.summary}"
            )
        has_data = material.is_real or material.table is not None
        if request.needs_data and not has_data:
            raise QuantizationError(f"form {request.form!r} needs data to find ranges; give some (--data), or a table")
        trials = self._trials(start, material, start.prepared)
        trials.stopwatch, floats = self._baseline(start, material, trials)
        again = functools.partial(self._trials, start, material, stopwatch=trials.stopwatch)
        task = Task(trials, layers, request, budget, environment.plugins.passes, again, has_data)
        with self.timed("search"):
            found = best_form(task) if request.form == "auto" else stated_form(task)
        with self.timed("finish"):
            finish(task, found, material.split, functools.partial(again, everything=True))
        best = found.candidate or floats
        report.calibrator = request.calibrator if has_data and best.plan.layers("static") else ""
        report.budget = budget.text if budget.stated or request.form == "auto" else ""
        with self.timed("report"):
            held_out = [feeds for feeds, _ in material.split.held_out]
            fill_report(report, found, best, floats, prospects.layers, left, budget, held_out, environment)
        if request.check:
            self._check(start.file.path, best, report)
        assert best.made is not None, "what failed is not kept"
        return Quantized(best.made.model, report, start.workshop.backend)

    def _report(self, start: Start, material: Material, prospects: Prospects) -> QuantizeReport:
        report = QuantizeReport(
            source=start.file.source,
            level="",
            target=self.request.target,
            pipeline="",
            numerics=Lossy(),
            ops_before=count_ops(start.original),
            bytes_before=start.original.constant_bytes,
            seconds=self.seconds,
            asked=self.request.form,
            prospects=prospects,
        )
        report.examples, report.metric_before = material.split.examples, material.judge.before
        report.notes += [*start.notes, *([material.split.note] if material.split.note else [])]
        return report

    def _trials(
        self,
        start: Start,
        material: Material,
        model: Model,
        *,
        stopwatch: Stopwatch | None = None,
        everything: bool = False,
    ) -> Trials:
        """Trials on a model; where it is not the prepared one, a table says nothing of it, and the data is looked at anew."""
        table = material.table if model is start.prepared else None
        environment = self.environment
        calibration = calibration_of(material, table, self.request, environment, self.tell, everything=everything)
        few = view_of_few(calibration, material, environment)
        registry = environment.plugins.passes
        return Trials(model, start.workshop, material.judge, stopwatch, calibration, registry, self.tell, few)

    def _baseline(self, start: Start, material: Material, trials: Trials) -> tuple[Stopwatch, Candidate]:
        """What all others are measured beside: the faster of the original and the prepared model; what is kept where nothing pays.

        Raises:
            QuantizationError: if the model of floats can't be made.
        """
        floats = trials.make("float", Plan({}), Settings(), note=False)
        if floats.made is None:
            raise QuantizationError(floats.reason)
        request = self.request
        feeds = timed_feeds(material.split.held_out[0][0], batched=is_batched(input_specs(start.original)))
        watch = Stopwatch(start.file.path, feeds, seconds=request.seconds * _PAIR, threads=request.threads)
        floats.times = watch.measure(floats.made.path, factor=1.0 if request.form == "auto" else TOLD)
        if any(item.dropped for item in floats.times) or (floats.speedup or 0.0) < _AS_FAST:
            made = start.workshop.make(start.original, Pipeline(()))
            floats = Candidate("the original", Plan({}), Settings(), made)
        assert floats.made is not None, "it was just made"
        trials.judge(floats)
        watch.baseline = floats.made.path
        return watch, floats

    def _check(self, original: str, best: Candidate, report: QuantizeReport) -> None:
        from graphopt.verify import check_equivalence  # lazily: imports ONNX Runtime

        assert best.made is not None, "what failed is not kept"
        with self.timed("check"):
            report.verdict = check_equivalence(original, best.made.path, numerics=Lossy())
        if report.verdict.status == "failed":
            raise VerificationError(
                f"the quantized model fails its check: {report.verdict.reason}; nothing was written"
            )
