"""Quantizes a model: the arguments, and what it may bring here."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from graphopt.compiler.environment import Environment
from graphopt.compiler.quantizing.labels import read_labels
from graphopt.compiler.quantizing.layers import Prospects, prospects_of
from graphopt.compiler.quantizing.metrics import CustomMetric
from graphopt.compiler.quantizing.plan import Form
from graphopt.compiler.quantizing.request import QuantizeRequest
from graphopt.compiler.quantizing.result import Quantized
from graphopt.compiler.quantizing.work import Work
from graphopt.passes import CalibrationTable
from graphopt.plugin_manager import PluginManager
from graphopt.runtime.processor import this_processor

__all__ = ["find_prospects", "quantize"]


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

    A quarter of the data is held out to judge on; ranges come from the rest, and once forms are chosen from all of it. With
    ``form="auto"`` layers that gain nothing compute on floats, whose weights are stored as integers; the model of floats (prepared, its
    BatchNormalization folded) is returned where not even that pays, and the report says so. Any other form is made as stated: nothing
    is decided by measuring, so the result is the same on every machine.

    Args:
        source: path, bytes, ``onnx.ModelProto``, IR (which is copied), what ``optimize``, ``quantize`` or ``prune`` gave, or what a
            plugin's frontend accepts.
        data: arrays by name with examples along the first axis; a single array for a model with one input; batches, each arrays by name;
            the path of an ``.npz`` or ``.npy`` file or of a folder of them; ``"module:function"`` or a function that gives batches.
            ``None`` for forms that need none.
        target: name of a target, whose scheme says how it wants integers.
        form: ``"auto"``; ``"static"`` (Q/DQ), ``"qoperator"``, ``"dynamic"``, ``"weights"``, ``"stored"``, ``"float16"``,
            ``"bfloat16"``.
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
        >>> result = quantize(digits_model(), {"image": images}, form="static", accuracy="none", seconds=1)
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
    with Work(source, request, progress or (lambda text: None), plugins) as work:
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
