"""Quantizes a model: prepares it, looks for the form that pays, holds it to a budget, checks it."""

from __future__ import annotations

import functools
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import numpy as np

from graphopt.compiler.artifacts import DEFAULT_BACKEND, RunnableFile, suffix_of
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
from graphopt.compiler.quantizing.labels import read_labels
from graphopt.compiler.quantizing.layers import Prospects, is_quantized, prospects_of, sizes_of
from graphopt.compiler.quantizing.metrics import CustomMetric, MetricKind, find_metric
from graphopt.compiler.quantizing.plan import Form, Plan, Settings
from graphopt.compiler.quantizing.request import QuantizeRequest, chosen_layers
from graphopt.compiler.quantizing.result import Quantized, QuantizeReport
from graphopt.compiler.quantizing.search import FormSearch
from graphopt.compiler.quantizing.workshop import Workshop
from graphopt.compiler.result import count_ops
from graphopt.errors import CalibrationError, QuantizationError, VerificationError
from graphopt.ir import Array, Model
from graphopt.numerics import Lossy
from graphopt.passes import CalibrationTable, Pipeline
from graphopt.plugin_manager import PluginManager
from graphopt.runtime.base import Feeds
from graphopt.runtime.processor import this_processor
from graphopt.target import Target

if TYPE_CHECKING:
    from graphopt.runtime.base import Datum, ValueSpec

__all__ = ["find_prospects", "quantize"]

#: Scales of channels have an axis from this opset on, blocks of weights from the other one.
_STATIC_OPSET: Final = 13
_BLOCKED_OPSET: Final = 21
#: Part of the time for a pair of models.
_PAIR: Final = 0.04
_MOST_TIMED: Final = 8
#: Examples that passes look at while plans are tried.
_FEW: Final = 24


def quantize(
    source: object,
    data: object = None,
    *,
    target: str = "onnxruntime",
    form: Form = "auto",
    calibrator: str = "auto",
    calibrator_options: Mapping[str, object] | None = None,
    table: CalibrationTable | str | os.PathLike[str] | None = None,
    labels: object = None,
    metric: str | CustomMetric | None = None,
    max_accuracy_drop: str | float | None = None,
    min_sqnr: float | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    accuracy: str | Sequence[str] = "auto",
    weight_dtype: str = "int8",
    block: int | None = None,
    prepare: str = "quantize-prepare",
    options: Mapping[str, Mapping[str, object]] | None = None,
    batch: int | None = None,
    limit: int | None = None,
    requantize: bool = False,
    check: bool = True,
    seconds: float = 30.0,
    threads: int = 1,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
    plugins: PluginManager | None = None,
) -> Quantized:
    """Store the numbers of a model as integers, where that is accurate enough and faster on this machine.

    A quarter of the data is held out to judge on; ranges come from the rest. With ``form="auto"`` the model of floats (prepared, its
    BatchNormalization folded) is returned where nothing pays, and the report says so. Any other form is made as stated: nothing is
    decided by measuring, so the result is the same on every machine.

    Args:
        source: path, bytes, ``onnx.ModelProto``, IR (which is copied), or what a plugin's frontend accepts.
        data: arrays by name with examples along the first axis; a single array for a model with one input; batches, each arrays by name;
            the path of an ``.npz`` or ``.npy`` file or of a folder of them; ``"module:function"`` or a function that gives batches.
            ``None`` for forms that need none.
        target: name of a target, whose scheme says how it wants integers.
        form: ``"auto"``; ``"static"`` (Q/DQ), ``"qoperator"``, ``"dynamic"``, ``"weights"``, ``"float16"``, ``"bfloat16"``.
        calibrator: what finds ranges, as ``graphopt list calibrators`` shows it.
        calibrator_options: its options.
        table: ranges that are known, a table or the path of one; of the original or of the prepared model.
        labels: what is right for each example: array, or path of an ``.npy`` or ``.npz`` file.
        metric: name, ``module:callable`` or function; ``top1`` by default with labels, else ``sqnr``.
        max_accuracy_drop: how much worse the metric may become, in points of one in percent: ``0.5`` or ``"0.5%"``.
        min_sqnr: dB that the outputs must reach, instead of a drop. 20 are aimed for when neither is stated and the form is ``auto``.
        include: layers to quantize, all if empty: names, patterns, ``op:MatMul``.
        exclude: layers to leave in floats.
        accuracy: passes for accuracy: ``"auto"`` for those that help, ``"none"``, or some of ``equalize``, ``smooth``,
            ``correct-biases`` and ``gptq``.
        weight_dtype: of weight-only layers: ``int8``, ``int4``, ``uint4``.
        block: numbers that share a scale in weight-only layers; 32 of 4 bits and all of a channel of 8 by default.
        prepare: pipeline that the model goes through first.
        options: options of passes, by pass and option; they go before all others.
        batch: examples in a batch, where whole arrays are cut.
        limit: how many examples are used.
        requantize: whether a model that is quantized already is made one of floats first.
        check: whether the result is checked: interface, types, that it runs; its accuracy is reported.
        seconds: for measuring. Data is looked at besides.
        threads: within an operator when measuring.
        seed: of random numbers.
        progress: told what is going on, in a few words.
        plugins: where passes, frontends and backends come from.

    Returns:
        The model with its report; nothing is written yet.

    Raises:
        QuantizationError: if nothing can be quantized, the target has no integers, the model is quantized already, or a budget that is
            stated can't be met.
        CalibrationError: if data, labels or a table do not fit the model, or a metric is unknown.
        ModelError: if the model is broken.
        PipelineError: if a target, calibrator, pipeline or option is unknown.
        ExecutionError: if the model can't be run.
        VerificationError: if the result does not have the interface of the original, or does not run.

    Example:
        >>> from graphopt.data import digits_model, digits_test
        >>> images, _ = digits_test()
        >>> result = quantize(digits_model(), {"image": images}, form="static")
        >>> result.report.is_quantized, result.report.metric_after["sqnr"] > 20
        (True, True)
    """
    request = QuantizeRequest(
        target=target,
        form=form,
        calibrator=calibrator,
        calibrator_options=dict(calibrator_options or {}),
        table=table,
        metric=metric,
        max_accuracy_drop=max_accuracy_drop,
        min_sqnr=min_sqnr,
        include=include,
        exclude=exclude,
        accuracy=accuracy,
        weight_dtype=weight_dtype,
        block=block,
        prepare=prepare,
        options=dict(options or {}),
        requantize=requantize,
        check=check,
        seconds=seconds,
        threads=threads,
        seed=seed,
    )
    request.check_arguments()
    with _Work(source, request, progress or (lambda text: None), plugins) as work:
        return work.run(data, None if labels is None else read_labels(labels), batch, limit)


def find_prospects(source: object, *, target: str = "onnxruntime", plugins: PluginManager | None = None) -> Prospects:
    """What quantization may bring to a model here, told before any time is spent: the model is only looked at.

    Args:
        source: as :func:`quantize` takes it.
        target: name of a target.
        plugins: where frontends and backends come from.

    Raises:
        ModelError: if the model is broken.
        PipelineError: if there is no such target.

    Example:
        >>> from graphopt.data import digits_model
        >>> find_prospects(digits_model()).share > 0.9
        True
    """
    environment = Environment(plugins)
    model = environment.lift(source)
    ctx = environment.context(environment.backend(target))
    ctx.types.infer_model(model)
    sizes = dict.fromkeys((str(dim) for value in model.graph.inputs for dim in value.shape or ()), 1)
    return prospects_of(model, ctx.target.quantization, this_processor(), sizes)


class _Work:
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
        #: A few examples, for passes that look at data while many plans are tried.
        self.few: list[Feeds] = []

    def __enter__(self) -> _Work:
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
        request, environment = self.request, self.environment
        backend = environment.backend(request.target)
        if backend.target.quantization is None and request.form not in ("float16", "bfloat16", "float"):
            known = ", ".join(name for name, item in _targets(environment).items() if item.quantization is not None)
            raise QuantizationError(f"target {request.target!r} has no integers; targets that have some: {known}")
        if suffix_of(environment, request.target) != ".onnx":
            raise QuantizationError(
                f"models for target {request.target!r} are no ONNX files, so none can be judged; quantize for --target onnx"
            )
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="graphopt-quantize-")))
        with self.timed("prepare"):
            original = environment.lift(self.source)
            file = self.stack.enter_context(RunnableFile(self.source, DEFAULT_BACKEND, environment))
            workshop = Workshop(environment, request.target, folder, request.seed, self.tell)
            prepared = self._prepared(original, workshop)
        with self.timed("data"):
            specs = input_specs(original)
            split, real = self._split(data, specs, labels, batch, limit, file)
            first = split.held_out[0][0]
            self.few = first_examples(split.calibration(), _FEW) if real else []
            kinds = self._kinds(labelled=labels is not None)
            judge = Judge(file.path, split, list(kinds.values()), folder)
        prospects = prospects_of(prepared, backend.target.quantization, this_processor(), sizes_of(prepared, first))
        report = QuantizeReport(
            source=file.source,
            level="",
            target=request.target,
            pipeline="",
            numerics=Lossy(),
            ops_before=count_ops(original),
            bytes_before=original.constant_bytes,
            seconds=self.seconds,
            asked=request.form,
            prospects=prospects,
        )
        report.examples, report.metric_before = split.examples, judge.before
        report.notes += [split.note] if split.note else []
        budget = budget_of(
            self._main_kind(kinds),
            judge.before[self._main_kind(kinds).name],
            request.max_accuracy_drop,
            request.min_sqnr,
        )
        left = chosen_layers(prospects.layers, request.include, request.exclude)
        layers = [layer for layer in prospects.layers if layer.name not in left]
        if not layers and request.form not in ("float16", "bfloat16", "float"):
            raise QuantizationError(
                f"nothing to quantize in {file.source}: {prospects.summary}" if not left else "every layer is left out"
            )
        table = self._table(original, prepared)
        has_data = real or table is not None
        if request.needs_data and not has_data:
            raise QuantizationError(f"form {request.form!r} needs data to find ranges; give some (--data), or a table")
        source = split if real else None
        base = self._trials(prepared, workshop, judge, None, self._calibration(source, table))
        floats = base.make("float", Plan({}), Settings(), note=False)
        if floats.made is None:
            raise QuantizationError(floats.reason)
        base.judge(floats)
        stopwatch = self._stopwatch(file.path, floats, split, specs)
        base.stopwatch = stopwatch

        def again(model: Model) -> Trials:
            return self._trials(model, workshop, judge, stopwatch, self._calibration(source, None))

        search = FormSearch(base, layers, request, budget, environment.plugins, again, has_data=has_data)
        with self.timed("search"):
            found = search.best() if request.form == "auto" else search.stated()
        best = found.candidate or floats
        report.calibrator = request.calibrator if has_data and best.plan.layers("static") else ""
        report.budget = budget.text if budget.stated or request.form == "auto" else ""
        with self.timed("report"):
            fill_report(
                report,
                found,
                best,
                floats,
                prospects.layers,
                left,
                budget,
                [feeds for feeds, _ in split.held_out],
                environment,
            )
        if request.check:
            self._check(file.path, best, report)
        assert best.made is not None, "what failed is not kept"
        return Quantized(best.made.model, report, backend)

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

    def _kinds(self, *, labelled: bool) -> dict[str, MetricKind]:
        metric = self.request.metric
        if metric is None:
            metric = "top1" if labelled else "sqnr"
        kinds = {kind.name: kind for kind in (find_metric(metric), find_metric("sqnr"))}
        return kinds

    def _main_kind(self, kinds: Mapping[str, MetricKind]) -> MetricKind:
        return next(iter(kinds.values()))

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

    def _calibration(self, split: Split | None, table: CalibrationTable | None) -> Batches | None:
        if split is None and table is None:
            return None
        feeds = None if split is None else split.calibration
        request = self.request
        return Batches(
            self.environment,
            feeds,
            table=table,
            calibrator=request.calibrator,
            options=request.calibrator_options,
            scheme=self.environment.backend(request.target).target.quantization,
            progress=lambda text: self.tell(f"calibrating: {text}"),
        )

    def _trials(
        self, model: Model, workshop: Workshop, judge: Judge, stopwatch: Stopwatch | None, calibration: Batches | None
    ) -> Trials:
        few = None
        if calibration is not None and self.few:
            few = FewBatches(calibration, Batches(self.environment, lambda: self.few))
        return Trials(model, workshop, judge, stopwatch, calibration, self.environment.plugins.passes, self.tell, few)

    def _stopwatch(self, original: str, floats: Candidate, split: Split, specs: Sequence[ValueSpec]) -> Stopwatch:
        """Measures beside the faster of the original and the prepared model."""
        assert floats.made is not None, "it was just made"
        request = self.request
        feeds = _timed_feeds(split.held_out[0][0], batched=is_batched(specs))
        watch = Stopwatch(original, feeds, seconds=request.seconds * _PAIR, threads=request.threads)
        floats.times = watch.measure(floats.made.path)
        slow = any(item.dropped for item in floats.times) or (floats.speedup or 0.0) < 0.97
        watch.baseline = original if slow else floats.made.path
        return watch

    def _check(self, original: str, best: Candidate, report: QuantizeReport) -> None:
        from graphopt.verify import check_equivalence  # lazily: imports ONNX Runtime

        assert best.made is not None, "what failed is not kept"
        with self.timed("check"):
            report.verdict = check_equivalence(original, best.made.path, numerics=Lossy())
        if report.verdict.status == "failed":
            raise VerificationError(
                f"the quantized model fails its check: {report.verdict.reason}; nothing was written"
            )


def _targets(environment: Environment) -> Mapping[str, Target]:
    return cast("Mapping[str, Target]", environment.plugins.targets)


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
