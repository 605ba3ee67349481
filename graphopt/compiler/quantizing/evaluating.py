"""How good a model is on data: metrics against labels, and against the outputs of a reference model. In any backend."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from graphopt.compiler.artifacts import DEFAULT_BACKEND, RunnableFile
from graphopt.compiler.environment import Environment
from graphopt.compiler.quantizing.examples import open_examples
from graphopt.compiler.quantizing.labels import Labels, examples_in, read_labels
from graphopt.compiler.quantizing.metrics import CustomMetric, MetricKind, OutputArrays, find_metric, tensor_outputs
from graphopt.compiler.result import Optimized
from graphopt.errors import CalibrationError, ExecutionError
from graphopt.ir import Array
from graphopt.plugin_manager import PluginManager
from graphopt.runtime import RunOptions
from graphopt.verify import check_inputs

if TYPE_CHECKING:
    from graphopt.runtime.base import Feeds, Runner

__all__ = ["Evaluation", "evaluate", "measure_quality"]


@dataclass(frozen=True)
class Evaluation:
    """How good a model is.

    Attributes:
        source: the model.
        backend: what ran it.
        reference: the model that it was compared with, ``""`` for none.
        values: by name of the metric.
        examples: how many were seen.
        batches: in how many runs.
        seconds: how long the model itself ran.
        kinds: the metrics.
    """

    source: str
    backend: str
    reference: str
    values: Mapping[str, float]
    examples: int
    batches: int
    seconds: float
    kinds: Mapping[str, MetricKind] = field(repr=False, compare=False, default_factory=dict)

    def to_dict(self) -> dict[str, object]:
        """Plain values, for JSON; a metric that is infinite is text."""
        return {
            "source": self.source,
            "backend": self.backend,
            "reference": self.reference or None,
            "metrics": {name: value if np.isfinite(value) else str(value) for name, value in self.values.items()},
            "examples": self.examples,
            "batches": self.batches,
            "seconds": round(self.seconds, 6),
        }


def evaluate(
    source: object,
    data: object,
    *,
    labels: object = None,
    metric: str | CustomMetric | Sequence[str | CustomMetric] | None = None,
    reference: object = None,
    backend: str | None = None,
    batch: int | None = None,
    limit: int | None = None,
    optimize: bool = True,
    threads: int | None = None,
    progress: Callable[[str], None] | None = None,
    plugins: PluginManager | None = None,
) -> Evaluation:
    """How good a model is on data, judged by labels or by a reference model. No batch is kept.

    Args:
        source: path, bytes, ``ModelProto``, IR, what ``optimize`` or ``quantize`` gave, or what a plugin's frontend accepts.
        data: arrays by name with examples along the first axis, a single array, batches, or a path; as :func:`graphopt.quantize` takes it.
        labels: one for each example: an array, or the path of an ``.npy`` or ``.npz`` file.
        metric: name, ``module:callable`` or function, or several; see :mod:`graphopt.compiler.quantizing.metrics`. By default ``top1``
            with labels, and ``sqnr`` and ``cosine`` with a reference.
        reference: the model to compare with; it runs in ONNX Runtime with its optimizer off.
        backend: what runs the model; ONNX Runtime, or what the result was made for.
        batch: examples that are run together, where the model's first axis allows it.
        limit: how many examples are used, all by default.
        optimize: whether the runtime may optimize the model, as in production.
        threads: within an operator, ``None`` for all cores.
        progress: told what is going on, in a few words.
        plugins: where frontends and backends come from.

    Raises:
        CalibrationError: if there is no data, labels do not fit it, or a metric is unknown or can't be worked out.
        ModelError: if a model is broken.
        ExecutionError: if a model can't be run.

    Example:
        >>> from graphopt.data import digits_model, digits_test
        >>> images, digits = digits_test()
        >>> round(evaluate(digits_model(), {"image": images}, labels=digits).values["top1"], 1)
        99.2
    """
    kinds = _metrics(metric, labelled=labels is not None, compared=reference is not None)
    known = None if labels is None else read_labels(labels)
    environment = Environment(plugins)
    tell = progress or (lambda text: None)
    with ExitStack() as stack:
        file = stack.enter_context(_file(source, backend, environment))
        runner = stack.enter_context(file.open(RunOptions(threads, optimize=optimize)))
        other: Runner | None = None
        name = ""
        if reference is not None:
            theirs = stack.enter_context(_file(reference, DEFAULT_BACKEND, environment))
            other, name = stack.enter_context(theirs.open(RunOptions(threads))), theirs.source
        examples = open_examples(data, runner.inputs, batch=batch, limit=limit)
        if known is not None and limit is not None:
            known = known[:limit]
        told = _told(Labels(known).batches(iter(examples)), tell)
        values, count, batches, seconds = measure_quality(runner, told, list(kinds.values()), other)
    return Evaluation(file.source, file.backend, name, values, count, batches, seconds, kinds)


def _metrics(
    metric: str | CustomMetric | Sequence[str | CustomMetric] | None, *, labelled: bool, compared: bool
) -> dict[str, MetricKind]:
    if not labelled and not compared:
        raise CalibrationError("nothing to judge by: give labels, or a reference model, or both")
    if metric is None:
        metric = [*(["top1"] if labelled else []), *(["sqnr", "cosine"] if compared else [])]
    wanted = [metric] if isinstance(metric, str) or callable(metric) else list(metric)
    if not wanted:
        raise CalibrationError("no metric is named; name one, such as top1")
    kinds = {kind.name: kind for kind in map(find_metric, wanted)}
    for kind in kinds.values():
        if kind.needs_reference and not compared:
            raise CalibrationError(f"metric {kind.name!r} compares with a reference model; give one")
    return kinds


def _file(source: object, backend: str | None, environment: Environment) -> RunnableFile:
    if isinstance(source, Optimized):
        return RunnableFile(source.model, backend or source.report.target, environment)
    return RunnableFile(source, backend or DEFAULT_BACKEND, environment)


def _told(
    batches: Iterator[tuple[Feeds, Array | None]], tell: Callable[[str], None]
) -> Iterator[tuple[Feeds, Array | None]]:
    for number, item in enumerate(batches):
        tell(f"batch {number + 1}")
        yield item


def measure_quality(
    runner: Runner,
    batches: Iterable[tuple[Feeds, Array | None]],
    kinds: Sequence[MetricKind],
    reference: Runner | None = None,
) -> tuple[dict[str, float], int, int, float]:
    """Metrics of a model over batches: their values, the examples, the batches, the seconds that it ran.

    Raises:
        CalibrationError: if there is no batch, or one does not fit the model.
        ExecutionError: if a model can't be run.
    """
    meters = {kind.name: kind.meter() for kind in kinds}
    examples, number, seconds = 0, -1, 0.0
    for number, (given, labels) in enumerate(batches):
        try:
            feeds = check_inputs(given, runner.inputs, runner.overridable, where=f"batch {number}")
        except ExecutionError as err:
            raise CalibrationError(str(err)) from err
        start = time.perf_counter()
        found = runner.run(feeds)
        seconds += time.perf_counter() - start
        outputs = tensor_outputs(found)
        theirs = None if reference is None else tensor_outputs(reference.run(feeds))
        if theirs is not None:
            _check_same(outputs, theirs)
        for meter in meters.values():
            meter.add(outputs, labels, theirs)
        examples += examples_in(feeds)
    if number < 0:
        raise CalibrationError("there is no batch to judge on; bring at least one")
    return {name: meter.value() for name, meter in meters.items()}, examples, number + 1, seconds


def _check_same(outputs: OutputArrays, reference: OutputArrays) -> None:
    for name, array in outputs.items():
        if name not in reference:
            raise CalibrationError(
                f"the reference model has no output {name!r}; it has: {', '.join(reference)}; compare a model with its original"
            )
        if reference[name].shape != array.shape:
            raise CalibrationError(
                f"output {name!r} has shape {list(array.shape)}, that of the reference model {list(reference[name].shape)}; "
                "compare a model with its original"
            )
