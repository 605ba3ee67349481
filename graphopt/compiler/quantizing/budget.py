"""How much worse a quantized model may be."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

from graphopt.compiler.quantizing.metrics import MetricKind, find_metric
from graphopt.errors import QuantizationError

__all__ = ["DEFAULT_SQNR", "Budget", "budget_of", "parse_drop"]

#: What is aimed for when nobody states a budget, in dB.
DEFAULT_SQNR: Final = 20.0
_DROP: Final = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(%?)\s*")


@dataclass(frozen=True)
class Budget:
    """The least that a metric must reach.

    Attributes:
        kind: the metric.
        least: value that is good enough; for a metric of which less is better, the most that is.
        stated: whether somebody asked for it.
    """

    kind: MetricKind
    least: float
    stated: bool = True

    def holds(self, value: float) -> bool:
        """Whether a value is good enough; NaN never is."""
        return value <= self.least if self.kind.smaller_is_better else value >= self.least

    @property
    def text(self) -> str:
        """The budget for people.

        Example:
            >>> Budget(find_metric("sqnr"), 20.0).text
            'sqnr at least 20.00 dB'
        """
        side = "at most" if self.kind.smaller_is_better else "at least"
        return f"{self.kind.name} {side} {self.kind.text(self.least)}"


def parse_drop(text: str | float) -> tuple[float, bool]:
    """A drop as a number, and whether it is in percent.

    Raises:
        QuantizationError: if it is not understood, negative or not finite.

    Example:
        >>> parse_drop("0.5%"), parse_drop(1)
        ((0.5, True), (1.0, False))
    """
    if isinstance(text, str):
        found = _DROP.fullmatch(text)
        if found is not None:
            return float(found[1]), bool(found[2])
    elif math.isfinite(text) and text >= 0:
        return float(text), False
    raise QuantizationError(f"the accuracy drop {text!r} is not understood; expected such as 0.5% or 0.2, 0 or more")


def budget_of(kind: MetricKind, before: float, drop: str | float | None, sqnr: float | None) -> Budget:
    """The budget that is asked for.

    Args:
        kind: the metric that is asked for.
        before: its value for the original.
        drop: how much worse it may become: points of a metric in percent, else in its own unit or, with ``%``, in percent of ``before``.
        sqnr: dB that the outputs must reach, instead of a drop.

    Raises:
        QuantizationError: if both are stated, or one makes no sense.
    """
    if drop is None:
        if sqnr is not None and not math.isfinite(sqnr):
            raise QuantizationError(f"the least SQNR is {sqnr!r}, expected a number of dB such as 20")
        return Budget(find_metric("sqnr"), DEFAULT_SQNR if sqnr is None else float(sqnr), sqnr is not None)
    if sqnr is not None:
        raise QuantizationError("an accuracy drop and a least SQNR are both stated; state one of them")
    if kind.name == "sqnr":
        raise QuantizationError(
            "an accuracy drop is stated for metric 'sqnr', which has no value before; state --min-sqnr 20"
        )
    amount, percent = parse_drop(drop)
    allowed = abs(before) * amount / 100 if percent and kind.unit != "%" else amount
    tiny = 1e-9 * max(1.0, abs(before))
    return Budget(kind, before + allowed + tiny if kind.smaller_is_better else before - allowed - tiny)
