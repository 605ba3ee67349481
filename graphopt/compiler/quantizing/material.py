"""What a quantization looks at: data in two parts, a table of ranges, and a few examples to measure with."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from graphopt.compiler.calibration.data import input_specs
from graphopt.compiler.calibration.source import Batches
from graphopt.compiler.environment import Environment
from graphopt.compiler.quantizing.examples import FewBatches, Split, first_examples, open_examples, split_examples
from graphopt.compiler.quantizing.judge import Judge
from graphopt.compiler.quantizing.labels import examples_in
from graphopt.compiler.quantizing.metrics import MetricKind, find_metric
from graphopt.compiler.quantizing.opening import Start
from graphopt.compiler.quantizing.request import QuantizeRequest
from graphopt.errors import CalibrationError
from graphopt.ir import Array
from graphopt.passes import CalibrationSource, CalibrationTable
from graphopt.runtime.base import Feeds

if TYPE_CHECKING:
    from graphopt.runtime.base import Datum

__all__ = ["Material", "calibration_of", "examples_to_look_at", "find_material", "timed_feeds", "view_of_few"]

#: Examples that passes look at, and that ranges come from until forms are chosen: so many bytes, for large ones have much in each,
#: within these ends.
_LOOKED_AT_BYTES: Final = 8 << 20
_LEAST_LOOKED_AT: Final = 64
_MOST_LOOKED_AT: Final = 512
#: The same while plans are tried.
_FEW: Final = 24
_MOST_TIMED: Final = 8


@dataclass(frozen=True)
class Material:
    """What there is to look at.

    Attributes:
        split: data in two parts.
        is_real: whether somebody brought it.
        main: the metric that counts.
        judge: judges on what was held out.
        few: a few examples of the other part.
        table: ranges that are known, ``None`` for none.
    """

    split: Split
    is_real: bool
    main: MetricKind
    judge: Judge
    few: Sequence[Feeds]
    table: CalibrationTable | None = None


def find_material(
    data: object, labels: Array | None, batch: int | None, limit: int | None, request: QuantizeRequest, start: Start
) -> Material:
    """Read the data once, and see that it fits the model; arguments as those of :func:`graphopt.quantize`.

    Raises:
        CalibrationError: if data, labels or the table do not fit the model, a metric is unknown, or a drop is stated without data.
    """
    split = _split(data, labels, batch, limit, request, start)
    main = find_metric(request.metric if request.metric is not None else "sqnr" if labels is None else "top1")
    kinds = {kind.name: kind for kind in (main, find_metric("sqnr"))}
    judge = Judge(start.file.path, split, list(kinds.values()), start.folder)
    is_real = data is not None
    few = list(first_examples(split.calibration(), _FEW)) if is_real else []
    return Material(split, is_real, main, judge, few, _table(request, start))


def _split(
    data: object, labels: Array | None, batch: int | None, limit: int | None, request: QuantizeRequest, start: Start
) -> Split:
    specs = input_specs(start.original)
    if data is not None:
        examples = open_examples(data, specs, batch=batch, limit=limit)
        known = labels if labels is None or limit is None else labels[:limit]
        return split_examples(examples, known, inputs=specs)
    if labels is not None:
        raise CalibrationError("there are labels, and no data; give the data that they belong to")
    if request.max_accuracy_drop is not None:
        raise CalibrationError("an accuracy drop is stated, and there is no data to judge on; give some (--data)")
    from graphopt.compiler.feeding import feeds_of_model  # lazily: draws inputs, which few ask for

    environment = start.workshop.environment
    drawn = feeds_of_model(Path(start.file.path), environment=environment, inputs=None, seed=request.seed, sizes={})
    note = "there is no data: the result is judged on generated inputs, which says little"
    return Split((), 0, [(drawn, None)], note)


def _table(request: QuantizeRequest, start: Start) -> CalibrationTable | None:
    table = request.table
    if table is None:
        return None
    if not isinstance(table, CalibrationTable):
        table = CalibrationTable.load(table)
    if table.model == CalibrationTable.fingerprint(start.prepared):
        return table
    table.check_model(start.original)
    if table.prepare not in ("", request.prepare):
        raise CalibrationError(
            f"the calibration table is of the model after {table.prepare!r}, expected {request.prepare!r}; "
            "calibrate with the same --prepare"
        )
    return table


def calibration_of(
    material: Material,
    table: CalibrationTable | None,
    request: QuantizeRequest,
    environment: Environment,
    tell: Callable[[str], None],
    *,
    everything: bool = False,
) -> CalibrationSource | None:
    """Ranges and tensors from the data, ``None`` where there is nothing; no more examples are looked at than statistics gain by.

    Args:
        material: the data.
        table: ranges that are known.
        request: says what finds the others.
        environment: plugins.
        tell: told what is going on.
        everything: whether examples that were held out are looked at too, and ranges come from all of them.
    """
    if not material.is_real and table is None:
        return None
    split = material.split
    look = functools.partial(_looked_through, split, everything=everything)
    most = examples_to_look_at(split.held_out[0][0])
    ranges = Batches(
        environment,
        functools.partial(look, None if everything or not split.every else most) if material.is_real else None,
        table=table,
        calibrator=request.calibrator,
        options=request.calibrator_options,
        scheme=environment.backend(request.target).target.quantization,
        progress=lambda text: tell(f"calibrating: {text}"),
    )
    if not material.is_real:
        return ranges
    return FewBatches(ranges, Batches(environment, functools.partial(look, most)))


def _looked_through(split: Split, most: int | None, *, everything: bool) -> Iterator[Feeds]:
    """The examples of a split, without those that are held out unless ``everything`` is wanted; so many at most."""
    batches = iter(split.data) if everything else split.calibration()
    return batches if most is None else first_examples(batches, most)


def examples_to_look_at(feeds: Feeds) -> int:
    """How many examples statistics of layers gain by: of large ones fewer, for there is much in each.

    Args:
        feeds: a batch of them.

    Example:
        >>> [examples_to_look_at({"x": np.zeros((4, size), np.float32)}) for size in (784, 10_000, 150_528)]
        [512, 209, 64]
    """
    size = sum(array.nbytes for array in feeds.values() if isinstance(array, np.ndarray)) // max(examples_in(feeds), 1)
    return min(max(_LOOKED_AT_BYTES // max(size, 1), _LEAST_LOOKED_AT), _MOST_LOOKED_AT)


def view_of_few(
    calibration: CalibrationSource | None, material: Material, environment: Environment
) -> CalibrationSource | None:
    """The same ranges, and tensors of a few examples only; ``None`` where there is no data."""
    if calibration is None or not material.few:
        return None
    return FewBatches(calibration, Batches(environment, lambda: material.few))


def timed_feeds(feeds: Feeds, *, batched: bool) -> list[dict[str, Datum]]:
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
