"""Judges models on the examples that were held out: against labels, and against what the original gives."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from graphopt.compiler.quantizing.bench import keep_batches, outputs_of
from graphopt.compiler.quantizing.examples import Split
from graphopt.compiler.quantizing.labels import examples_in
from graphopt.compiler.quantizing.metrics import Meter, MetricKind, OutputArrays, tensor_outputs
from graphopt.ir import Array

__all__ = ["Judge", "Verdict"]

#: Examples that are enough to compare models by.
_FEW: Final = 16

#: So many standard errors a value has to keep from what is asked for: of other data of the kind, five in six are then within it.
_CAUTION: Final = 1.0


@dataclass(frozen=True)
class Verdict:
    """How good a model is.

    Attributes:
        values: metrics on held-out examples.
        cautious: what other examples will have, most of the time: the same, worse by a standard error, or that of all examples that were
            shown, if there are too few held out and the others are worse.
    """

    values: dict[str, float]
    cautious: dict[str, float]


class Judge:
    """Judges models.

    Args:
        original: path of the model that others are compared with; it runs with ONNX Runtime's optimizer off.
        split: has the held-out examples.
        kinds: metrics.
        folder: for a temporary file.
        threads: within an operator, ``None`` for all cores.

    Attributes:
        before: the metrics of the original.

    Raises:
        ExecutionError: if the original can't be run.
        CalibrationError: if a metric can't be worked out.
    """

    def __init__(
        self, original: str, split: Split, kinds: Sequence[MetricKind], folder: Path, threads: int | None = None
    ) -> None:
        shown = [*split.held_out, *split.beside]
        self._held_out = len(split.held_out)
        self._labels = [labels for _, labels in shown]
        self._kinds = kinds
        self._threads = threads
        self._sizes = [examples_in(feeds) for feeds, _ in shown]
        self._batches = keep_batches([feeds for feeds, _ in shown], folder / "held-out")
        self._few = _first(self._sizes, _FEW)
        self._reference = [
            tensor_outputs(item) for item in outputs_of(original, self._batches, optimize=False, threads=threads)
        ]
        self._before = [self._metered(self._reference[: self._held_out]), self._metered(self._reference)]
        self.before = {name: meter.value() for name, meter in self._before[0].items()}

    def judge(self, model: str) -> dict[str, float]:
        """The metrics of a model, as ONNX Runtime runs it with its optimizer on.

        Args:
            model: path.

        Raises:
            ExecutionError: if it can't be run.
        """
        return self.verdict(model).values

    def verdict(self, model: str, *, quick: bool = False) -> Verdict:
        """The metrics of a model, and what they will be elsewhere; with ``quick`` on a few examples."""
        first = self._few if quick else None
        outputs = outputs_of(model, self._batches, optimize=True, threads=self._threads, first=first)
        found = [tensor_outputs(item) for item in outputs]
        seen = [self._metered(found if quick else found[: self._held_out]), self._metered(found)]
        values = {name: meter.value() for name, meter in seen[0].items()}
        cautious = {kind.name: self._cautious(kind, [meters[kind.name] for meters in seen]) for kind in self._kinds}
        return Verdict(values, cautious)

    def _cautious(self, kind: MetricKind, seen: Sequence[Meter]) -> float:
        """The worse of what two sets of examples say of others, beside what the original has on each."""
        before = [meters[kind.name] for meters in self._before]
        found = []
        for meter, original in zip(seen, before, strict=True):
            away = _CAUTION * meter.doubt(original)
            usual = before[0].value() - original.value()  # examples of one set may be harder for the original too
            value = meter.value() + (usual if math.isfinite(usual) else 0.0)
            found.append(value + (away if kind.smaller_is_better else -away))
        if any(map(math.isnan, found)):
            return math.nan
        return max(found) if kind.smaller_is_better else min(found)

    def _metered(self, found: Sequence[OutputArrays]) -> dict[str, Meter]:
        """Meters that saw outputs, example by example where batches can be cut."""
        meters = {kind.name: kind.meter() for kind in self._kinds}
        for size, mine, theirs, labels in zip(self._sizes, found, self._reference, self._labels, strict=False):
            for kind in self._kinds:
                parts = _cut(size, mine, theirs, labels) if kind.is_additive else iter([(mine, labels, theirs)])
                for part in parts:
                    meters[kind.name].add(*part)
        return meters


def _first(sizes: Sequence[int], most: int) -> int:
    """How many batches have so many examples, at least one."""
    total = 0
    for number, size in enumerate(sizes, start=1):
        total += size
        if total >= most:
            return number
    return len(sizes)


def _cut(
    size: int, mine: OutputArrays, theirs: OutputArrays, labels: Array | None
) -> Iterator[tuple[OutputArrays, Array | None, OutputArrays]]:
    """A batch as its examples, or as it is where its outputs have no axis for them."""
    arrays = [*mine.values(), *theirs.values(), *([] if labels is None else [labels])]
    if size < 2 or any(not array.ndim or len(array) != size for array in arrays):
        yield mine, labels, theirs
        return
    for at in range(size):
        part = slice(at, at + 1)
        yield (
            {name: array[part] for name, array in mine.items()},
            None if labels is None else labels[part],
            {name: array[part] for name, array in theirs.items()},
        )
