"""How good outputs are: against labels, or against those of a reference model. Metrics are streamed, batch by batch.

Built in: ``top1`` and ``top5`` (share of right classes in percent; without labels the share on which the reference agrees), ``mse``,
``cosine`` (in [-1, 1]) and ``sqnr`` (in dB, of the worst float output). A metric of one's own is any ``module:callable`` or function
``(outputs, expected) -> float``, larger is better: ``outputs`` are arrays by name over all data, joined along the first axis;
``expected`` is the array of labels, or the reference's outputs by name where there are no labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final, cast

from graphopt.compiler.calibration.functions import imported
from graphopt.compiler.quantizing.meters import Custom, CustomMetric, Errors, Meter, OutputArrays, TopK, tensor_outputs
from graphopt.errors import CalibrationError
from graphopt.passes import suggestion

__all__ = ["METRICS", "CustomMetric", "Meter", "MetricKind", "OutputArrays", "find_metric", "tensor_outputs"]


class MetricKind:
    """A metric by name.

    Attributes:
        name: of it.
        unit: behind the number, for people.
        smaller_is_better: whether less is better.
        needs_reference: whether it can't do without the outputs of a reference.
        is_additive: whether it is the same however examples are cut into parts.
    """

    def __init__(
        self,
        name: str,
        new: Callable[[], Meter],
        *,
        unit: str = "",
        smaller_is_better: bool = False,
        needs_reference: bool = False,
        is_additive: bool = True,
    ) -> None:
        self.name = name
        self.unit = unit
        self.smaller_is_better = smaller_is_better
        self.needs_reference = needs_reference
        self.is_additive = is_additive
        self._new = new

    def meter(self) -> Meter:
        """One that has seen nothing."""
        return self._new()

    def drop(self, before: float, after: float) -> float:
        """How much worse ``after`` is, in the metric's own unit; negative when it is better."""
        if before == after:
            return 0.0
        return after - before if self.smaller_is_better else before - after

    def text(self, value: float) -> str:
        """A value for people.

        Example:
            >>> find_metric("top1").text(98.654), find_metric("mse").text(0.00012)
            ('98.65 %', '0.00012')
        """
        if not math.isfinite(value):
            return "exact" if value > 0 and not self.smaller_is_better else str(value)
        number = f"{value:.2f}" if self.unit in ("%", "dB") else f"{value:.5g}"
        return f"{number} {self.unit}".rstrip()


def _kind(name: str, unit: str, *, smaller: bool = False) -> MetricKind:
    return MetricKind(name, lambda: Errors(name), unit=unit, smaller_is_better=smaller, needs_reference=name == "sqnr")


#: Metrics that are built in.
METRICS: Final[Mapping[str, MetricKind]] = {
    "top1": MetricKind("top1", lambda: TopK(1), unit="%"),
    "top5": MetricKind("top5", lambda: TopK(5), unit="%"),
    "mse": _kind("mse", "", smaller=True),
    "cosine": _kind("cosine", ""),
    "sqnr": _kind("sqnr", "dB"),
}


def find_metric(metric: str | CustomMetric) -> MetricKind:
    """A metric by its name, as ``module:callable``, or made of a function.

    Raises:
        CalibrationError: if there is no such metric, or the function can't be imported.

    Example:
        >>> find_metric("top1").unit
        '%'
    """
    if not isinstance(metric, str):
        if not callable(metric):
            raise CalibrationError(f"metric is {metric!r:.80}, expected a name, module:callable, or a function")
        name = getattr(metric, "__name__", type(metric).__name__)
        return _custom(name, metric)
    if metric in METRICS:
        return METRICS[metric]
    if ":" not in metric:
        known = ", ".join(METRICS)
        raise CalibrationError(
            f"unknown metric {metric!r}{suggestion(metric, METRICS) or ';'} known: {known}, or module:callable"
        )
    return _custom(metric, cast("CustomMetric", imported(metric, f"metric {metric!r}", "(outputs, expected) -> float")))


def _custom(name: str, function: CustomMetric) -> MetricKind:
    smaller = bool(getattr(function, "smaller_is_better", False))
    return MetricKind(name, lambda: Custom(name, function), smaller_is_better=smaller, is_additive=False)
