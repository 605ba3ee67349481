"""One quantization, from the model that is given to the one that is kept: prepare, split the data, search, report, check."""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import numpy as np

from graphopt.compiler.artifacts import DEFAULT_BACKEND, RunnableFile, judged_as_onnx
from graphopt.compiler.calibration_data import input_specs
from graphopt.compiler.calibration_source import Batches
from graphopt.compiler.environment import Environment
from graphopt.compiler.quantizing.assembling import fill_report
from graphopt.compiler.quantizing.budget import budget_of
from graphopt.compiler.quantizing.candidates import Candidate, Stopwatch, Trials
from graphopt.compiler.quantizing.examples import (
    FewBatches,
    Split,
    first_examples,
    is_batched,
    open_examples,
    split_examples,
)
from graphopt.compiler.quantizing.judge import Judge
from graphopt.compiler.quantizing.layers import Prospects, is_quantized, prospects_of, sizes_of
from graphopt.compiler.quantizing.metrics import MetricKind, find_metric
from graphopt.compiler.quantizing.plan import Plan, Settings
from graphopt.compiler.quantizing.request import QuantizeRequest, chosen_layers
from graphopt.compiler.quantizing.result import Quantized, QuantizeReport
from graphopt.compiler.quantizing.search import FormSearch
from graphopt.compiler.quantizing.workshop import Workshop
from graphopt.compiler.result import count_ops
from graphopt.errors import CalibrationError, QuantizationError, VerificationError
from graphopt.ir import Array, Model
from graphopt.numerics import Lossy
from graphopt.passes import CalibrationSource, CalibrationTable, Pipeline
from graphopt.plugin_manager import PluginManager
from graphopt.runtime.base import Feeds
from graphopt.runtime.processor import this_processor
from graphopt.target import Target

if TYPE_CHECKING:
    from graphopt.runtime.base import Datum, ValueSpec

__all__ = ["Work"]

#: Scales of channels have an axis from this opset on, blocks of weights from the other one.
_STATIC_OPSET: Final = 13
_BLOCKED_OPSET: Final = 21
#: Part of the time for a pair of models.
_PAIR: Final = 0.04
_MOST_TIMED: Final = 8
#: Examples that passes look at; of which ranges come from all.
_MOST_LOOKED_AT: Final = 512
#: The same while plans are tried.
_FEW: Final = 24


#: Forms of a whole model, which need no integers.
_WHOLE: Final = ("float16", "bfloat16", "float")
#: The prepared model is as fast as the original when it is no slower than this, as measurements go.
_AS_FAST: Final = 0.97


@dataclass(frozen=True)
class _Start:
    """The model as it came, as it was prepared, and what makes others of it."""

    original: Model
    prepared: Model
    file: RunnableFile
    workshop: Workshop
    folder: Path


@dataclass(frozen=True)
class _Data:
    """Data in two parts, whether somebody brought it, the metric that counts, who judges, and a few examples."""

    split: Split
    real: bool
    main: MetricKind
    judge: Judge
    few: Sequence[Feeds]


class Work:
    """One quantization: what is open while it goes on."""

    def __init__(
        self, source: object, request: QuantizeRequest, tell: Callable[[str], None], plugins: PluginManager | None
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

    def run(self, data: object, labels: Array | None, batch: int | None, limit: int | None) -> Quantized:
        """All of it; arguments as those of :func:`graphopt.quantize`."""
        request, environment = self.request, self.environment
        self._refuse_target()
        with self.timed("prepare"):
            start = self._opened()
        with self.timed("data"):
            data_ = self._data(data, labels, batch, limit, start)
        first = data_.split.held_out[0][0]
        scheme = start.workshop.backend.target.quantization
        prospects = prospects_of(start.prepared, scheme, this_processor(), sizes_of(start.prepared, first))
        report = self._report(start, data_, prospects)
        kind = data_.main
        budget = budget_of(kind, data_.judge.before[kind.name], request.max_accuracy_drop, request.min_sqnr)
        left = chosen_layers(prospects.layers, request.include, request.exclude)
        layers = [layer for layer in prospects.layers if layer.name not in left]
        if not layers and request.form not in _WHOLE:
            raise QuantizationError(
                "every layer is left out"
                if left
                else f"nothing to quantize in {start.file.source}: {prospects.summary}"
            )
        table = self._table(start.original, start.prepared)
        has_data = data_.real or table is not None
        if request.needs_data and not has_data:
            raise QuantizationError(f"form {request.form!r} needs data to find ranges; give some (--data), or a table")
        trials = self._trials(start.prepared, start.workshop, data_, None, table)
        trials.stopwatch, floats = self._baseline(start, data_, trials)
        again = functools.partial(self._again, start.workshop, data_, trials.stopwatch)
        search = FormSearch(trials, layers, request, budget, environment.plugins, again, has_data=has_data)
        with self.timed("search"):
            found = search.best() if request.form == "auto" else search.stated()
        best = found.candidate or floats
        report.calibrator = request.calibrator if has_data and best.plan.layers("static") else ""
        report.budget = budget.text if budget.stated or request.form == "auto" else ""
        with self.timed("report"):
            held_out = [feeds for feeds, _ in data_.split.held_out]
            fill_report(report, found, best, floats, prospects.layers, left, budget, held_out, environment)
        if request.check:
            self._check(start.file.path, best, report)
        assert best.made is not None, "what failed is not kept"
        return Quantized(best.made.model, report, start.workshop.backend)

    def _refuse_target(self) -> None:
        """See that models for the target can be integers, and can be judged.

        Raises:
            QuantizationError: if they can't.
        """
        request, environment = self.request, self.environment
        backend = environment.backend(request.target)
        if backend.target.quantization is None and request.form not in _WHOLE:
            targets = cast("Mapping[str, Target]", environment.plugins.targets)
            known = ", ".join(name for name, item in targets.items() if item.quantization is not None)
            raise QuantizationError(f"target {request.target!r} has no integers; targets that have some: {known}")
        if not judged_as_onnx(environment, request.target):
            raise QuantizationError(
                f"models for target {request.target!r} are no ONNX files, so none can be judged; quantize for --target onnx"
            )

    def _opened(self) -> _Start:
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="graphopt-quantize-")))
        original = self.environment.lift(self.source)
        file = self.stack.enter_context(RunnableFile(self.source, DEFAULT_BACKEND, self.environment))
        workshop = Workshop(self.environment, self.request.target, folder, self.request.seed, self.tell)
        return _Start(original, self._prepared(original, workshop), file, workshop, folder)

    def _data(self, data: object, labels: Array | None, batch: int | None, limit: int | None, start: _Start) -> _Data:
        split, real = self._split(data, input_specs(start.original), labels, batch, limit, start.file)
        metric = self.request.metric
        if metric is None:
            metric = "top1" if labels is not None else "sqnr"
        main = find_metric(metric)
        kinds = {kind.name: kind for kind in (main, find_metric("sqnr"))}
        judge = Judge(start.file.path, split, list(kinds.values()), start.folder)
        return _Data(split, real, main, judge, list(first_examples(split.calibration(), _FEW)) if real else [])

    def _report(self, start: _Start, data: _Data, prospects: Prospects) -> QuantizeReport:
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
        report.examples, report.metric_before = data.split.examples, data.judge.before
        report.notes += [data.split.note] if data.split.note else []
        return report

    def _baseline(self, start: _Start, data: _Data, trials: Trials) -> tuple[Stopwatch, Candidate]:
        """What all others are measured beside: the faster of the original and the prepared model; what is kept where nothing pays.

        Raises:
            QuantizationError: if the model of floats can't be made.
        """
        floats = trials.make("float", Plan({}), Settings(), note=False)
        if floats.made is None:
            raise QuantizationError(floats.reason)
        request = self.request
        feeds = _timed_feeds(data.split.held_out[0][0], batched=is_batched(input_specs(start.original)))
        watch = Stopwatch(start.file.path, feeds, seconds=request.seconds * _PAIR, threads=request.threads)
        floats.times = watch.measure(floats.made.path)
        if any(item.dropped for item in floats.times) or (floats.speedup or 0.0) < _AS_FAST:
            made = start.workshop.make(start.original, Pipeline(()))
            floats = Candidate("the original", Plan({}), Settings(), made)
        assert floats.made is not None, "it was just made"
        trials.judge(floats)
        watch.baseline = floats.made.path
        return watch, floats

    # -- parts ------------------------------------------------------------------------------------------------------------------

    def _prepared(self, original: Model, workshop: Workshop) -> Model:
        """The model of floats that everything else is made of.

        Raises:
            QuantizationError: if it is quantized already, and nobody wants it to be made one of floats.
        """
        request, registry = self.request, self.environment.plugins.passes
        self.environment.context(workshop.backend).types.infer_model(original)
        ops = is_quantized(original)
        text = request.prepare
        if ops:
            if not request.requantize:
                raise QuantizationError(
                    f"the model is quantized already: it has {', '.join(ops)}; leave it as it is, or quantize it anew with --requantize"
                )
            text = f"dequantize,{text}"
        opset = original.graph.opset() or 0
        least = _BLOCKED_OPSET if request.form == "weights" else _STATIC_OPSET
        if opset < least:
            text = f"raise-opset{{to={least},strict=false}},{text}"
        model, _ = workshop.run(original, Pipeline.from_text(text, registry))
        self.environment.context(workshop.backend).types.infer_model(model)
        return model

    def _split(
        self,
        data: object,
        specs: Sequence[ValueSpec],
        labels: Array | None,
        batch: int | None,
        limit: int | None,
        file: RunnableFile,
    ) -> tuple[Split, bool]:
        """Data in two parts, and whether it is real."""
        if data is not None:
            examples = open_examples(data, specs, batch=batch, limit=limit)
            known = labels if labels is None or limit is None else labels[:limit]
            return split_examples(examples, known, inputs=specs), True
        if labels is not None:
            raise CalibrationError("there are labels, and no data; give the data that they belong to")
        if self.request.max_accuracy_drop is not None:
            raise CalibrationError("an accuracy drop is stated, and there is no data to judge on; give some (--data)")
        from graphopt.compiler.feeding import feeds_of_model  # lazily: draws inputs, which few ask for

        drawn = feeds_of_model(
            Path(file.path), environment=self.environment, inputs=None, seed=self.request.seed, sizes={}
        )
        note = "there is no data: the result is judged on generated inputs, which says little"
        return Split((), 0, [(drawn, None)], note), False

    def _table(self, original: Model, prepared: Model) -> CalibrationTable | None:
        table = self.request.table
        if table is None:
            return None
        if not isinstance(table, CalibrationTable):
            table = CalibrationTable.load(table)
        if table.model == CalibrationTable.fingerprint(prepared):
            return table
        table.check_model(original)
        if table.prepare not in ("", self.request.prepare):
            raise CalibrationError(
                f"the calibration table is of the model after {table.prepare!r}, expected {self.request.prepare!r}; "
                "calibrate with the same --prepare"
            )
        return table

    def _calibration(self, split: Split | None, table: CalibrationTable | None) -> CalibrationSource | None:
        """Ranges from all of the data; passes look at no more examples than their statistics gain by."""
        if split is None and table is None:
            return None
        request = self.request
        ranges = Batches(
            self.environment,
            None if split is None else split.calibration,
            table=table,
            calibrator=request.calibrator,
            options=request.calibrator_options,
            scheme=self.environment.backend(request.target).target.quantization,
            progress=lambda text: self.tell(f"calibrating: {text}"),
        )
        if split is None:
            return ranges
        return FewBatches(
            ranges, Batches(self.environment, lambda: first_examples(split.calibration(), _MOST_LOOKED_AT))
        )

    def _trials(
        self,
        model: Model,
        workshop: Workshop,
        data: _Data,
        stopwatch: Stopwatch | None,
        table: CalibrationTable | None,
    ) -> Trials:
        calibration = self._calibration(data.split if data.real else None, table)
        few = None
        if calibration is not None and data.few:
            few = FewBatches(calibration, Batches(self.environment, lambda: data.few))
        registry = self.environment.plugins.passes
        return Trials(model, workshop, data.judge, stopwatch, calibration, registry, self.tell, few)

    def _again(self, workshop: Workshop, data: _Data, stopwatch: Stopwatch, model: Model) -> Trials:
        """Trials on a changed model, whose data is looked at anew."""
        return self._trials(model, workshop, data, stopwatch, None)

    def _check(self, original: str, best: Candidate, report: QuantizeReport) -> None:
        from graphopt.verify import check_equivalence  # lazily: imports ONNX Runtime

        assert best.made is not None, "what failed is not kept"
        with self.timed("check"):
            report.verdict = check_equivalence(original, best.made.path, numerics=Lossy())
        if report.verdict.status == "failed":
            raise VerificationError(
                f"the quantized model fails its check: {report.verdict.reason}; nothing was written"
            )


def _timed_feeds(feeds: Feeds, *, batched: bool) -> list[dict[str, Datum]]:
    """One example, and a few at once, where a model takes any number."""
    whole = dict(feeds)
    sizes = {len(array) for array in whole.values() if isinstance(array, np.ndarray) and array.ndim}
    if not batched or len(sizes) != 1:
        return [whole]
    most = min(sizes.pop(), _MOST_TIMED)
    cut = functools.partial(_cut, whole)
    return [cut(1), cut(most)] if most > 1 else [cut(1)]


def _cut(feeds: Mapping[str, Datum], count: int) -> dict[str, Datum]:
    return {name: array[:count] if isinstance(array, np.ndarray) else array for name, array in feeds.items()}
