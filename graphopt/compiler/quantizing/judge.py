"""Judges models on the examples that were held out: against labels, and against what the original gives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from graphopt.compiler.quantizing.bench import keep_batches, outputs_of
from graphopt.compiler.quantizing.examples import Split
from graphopt.compiler.quantizing.metrics import MetricKind, tensor_outputs

if TYPE_CHECKING:
    from graphopt.runtime.base import Outputs

__all__ = ["Judge"]


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
        self._labels = [labels for _, labels in split.held_out]
        self._kinds = kinds
        self._threads = threads
        self._batches = keep_batches([feeds for feeds, _ in split.held_out], folder / "held-out")
        self._reference = outputs_of(original, self._batches, optimize=False, threads=threads)
        self.before = self._values(self._reference)

    def judge(self, model: str) -> dict[str, float]:
        """The metrics of a model, as ONNX Runtime runs it with its optimizer on.

        Args:
            model: path.

        Raises:
            ExecutionError: if it can't be run.
        """
        return self._values(outputs_of(model, self._batches, optimize=True, threads=self._threads))

    def _values(self, found: Sequence[Outputs]) -> dict[str, float]:
        meters = {kind.name: kind.meter() for kind in self._kinds}
        for mine, theirs, labels in zip(found, self._reference, self._labels, strict=True):
            outputs, reference = tensor_outputs(mine), tensor_outputs(theirs)
            for meter in meters.values():
                meter.add(outputs, labels, reference)
        return {name: meter.value() for name, meter in meters.items()}
