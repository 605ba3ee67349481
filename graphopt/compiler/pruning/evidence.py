"""What a pruned model is judged on: data in two parts, or made-up inputs where there is none, and the metrics that count."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from graphopt.compiler.calibration.data import input_specs
from graphopt.compiler.calibration.source import Batches
from graphopt.compiler.environment import Environment
from graphopt.compiler.pruning.request import PruneRequest
from graphopt.compiler.quantizing.examples import Split, first_examples, is_batched, open_examples, split_examples
from graphopt.compiler.quantizing.judge import Judge
from graphopt.compiler.quantizing.labels import examples_in
from graphopt.compiler.quantizing.metrics import MetricKind, OutputArrays, find_metric
from graphopt.ir import Array, DType, Model
from graphopt.passes import CalibrationSource
from graphopt.runtime.base import Feeds

__all__ = ["Evidence", "agreement", "gather_evidence"]

#: Examples that passes look at, and of which a sweep does.
_MOST: Final = 512
_FEW: Final = 64
#: From so many on nobody is warned.
_ENOUGH: Final = 32
_SQNR: Final = "sqnr"
#: dB, beyond which noise is as good as this.
_LOUD: Final = 300.0
_ONE_BATCH: Final = (
    "there is one batch only, so the result is judged on what it was pruned and recovered with; bring more"
)
_NO_DATA: Final = "there is no data: the result is judged on generated inputs, which says little"


@dataclass(frozen=True)
class Evidence:
    """Data, and who judges.

    Attributes:
        split: the data in two parts.
        real: whether somebody brought it.
        main: the metric that counts.
        judge: judges on the part that is held out.
        calibration: the other part, for passes; ``None`` without data.
        few: a few examples of that.
        batched: whether batches can be cut along the first axis of each input.
        notes: what people should know.
        doubt: why what is recovered may not hold elsewhere, ``""`` for nothing.
    """

    split: Split
    real: bool
    main: MetricKind
    judge: Judge
    calibration: CalibrationSource | None
    few: CalibrationSource | None
    batched: bool
    notes: tuple[str, ...] = ()
    doubt: str = ""

    @property
    def first(self) -> Feeds:
        """The first batch that is held out."""
        return self.split.held_out[0][0]

    def noise(self, values: Mapping[str, float]) -> float:
        """What a model lost: squared error of its outputs over their squared size, or points of the metric where no output is a float.

        Args:
            values: its metrics.

        Returns:
            0 or more, infinite where nothing can be told.
        """
        db = values.get(_SQNR)
        if db is None:
            lost = max(self.main.drop(self.judge.before[self.main.name], values.get(self.main.name, math.nan)), 0.0)
        elif math.isnan(db):
            return math.inf
        else:
            lost = 10 ** (-min(max(db, -_LOUD), _LOUD) / 10) if db != math.inf else 0.0
        return math.inf if math.isnan(lost) else lost


def gather_evidence(
    environment: Environment,
    request: PruneRequest,
    original: Model,
    path: str,
    folder: Path,
    data: object,
    labels: Array | None,
    batch: int | None,
    limit: int | None,
) -> Evidence:
    """What models are judged on.

    Args:
        environment: plugins.
        request: what is asked for.
        original: the model.
        path: where it is, as a file that runs.
        folder: for a temporary file.
        data: as :func:`graphopt.prune` takes it.
        labels: one for each example.
        batch: examples in a batch.
        limit: how many are used.

    Raises:
        CalibrationError: if data, labels or a metric do not fit the model.
        ExecutionError: if the model can't be run.
    """
    specs = input_specs(original)
    if data is None:
        from graphopt.compiler.feeding import feeds_of_model  # lazily: draws inputs, which few ask for

        drawn = feeds_of_model(Path(path), environment=environment, inputs=None, seed=request.seed, sizes={})
        split = Split((), 0, [(drawn, None)])
    else:
        known = labels if labels is None or limit is None else labels[:limit]
        split = split_examples(open_examples(data, specs, batch=batch, limit=limit), known, inputs=specs)
    main = _main(original, request, labelled=labels is not None)
    kinds = {kind.name: kind for kind in (main, *_beside(original, labelled=labels is not None))}
    judge = Judge(path, split, list(kinds.values()), folder)
    calibration = few = None
    if data is not None:
        calibration = Batches(environment, lambda: first_examples(split.calibration(), _MOST))
        few = Batches(environment, lambda: first_examples(split.calibration(), _FEW))
    notes = (_NO_DATA,) if data is None else () if split.every else (_ONE_BATCH,)
    doubt = "" if data is None else _doubt(split)
    return Evidence(split, data is not None, main, judge, calibration, few, is_batched(specs), notes, doubt)


def _main(model: Model, request: PruneRequest, *, labelled: bool) -> MetricKind:
    """The metric that counts: the one that is named, ``top1`` with labels, else what compares with the original."""
    if request.metric is not None or labelled:
        return find_metric(request.metric or "top1")
    return find_metric(_SQNR if any(_is_scores(value.dtype) for value in model.graph.outputs) else agreement)


def agreement(outputs: OutputArrays, expected: object) -> float:
    """The share of elements that are the same as those of the original, in percent; for models that give no floats.

    Example:
        >>> agreement({"y": np.array([1, 2, 3, 4])}, {"y": np.array([1, 2, 0, 0])})
        50.0
    """
    assert isinstance(expected, Mapping), "there are no labels"
    same = np.concatenate([np.ravel(array == expected[name]) for name, array in outputs.items()])
    return 100.0 * float(same.mean())


def _doubt(split: Split) -> str:
    """What people should know of too little data."""
    seen = sum(map(examples_in, first_examples(split.calibration(), _ENOUGH)))
    if seen >= _ENOUGH:
        return ""
    told = f"{seen} example{'' if seen == 1 else 's'}"
    return f"layers are fitted to what they gave on {told} only, and may be wrong on all others; bring some hundred"


def _beside(model: Model, *, labelled: bool) -> Sequence[MetricKind]:
    """Metrics that are shown beside the one that counts: how near outputs are to those of the original, and how often classes agree."""
    if not any(_is_scores(value.dtype) for value in model.graph.outputs):
        return []
    found = [find_metric(_SQNR)]
    if not labelled:
        found.append(find_metric("cosine"))
        scores = model.graph.outputs[0] if model.graph.outputs else None
        if scores is not None and scores.shape is not None and len(scores.shape) == 2 and _is_scores(scores.dtype):
            classes = scores.shape[1]
            if isinstance(classes, int) and classes > 1:
                found.append(find_metric("top1"))
    return found


def _is_scores(dtype: DType | None) -> bool:
    return dtype is not None and dtype.is_float
