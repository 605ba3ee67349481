"""What metrics add up, batch by batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from graphopt.compiler.quantizing.labels import class_axis
from graphopt.errors import CalibrationError
from graphopt.ir import Array
from graphopt.runtime.base import Outputs
from graphopt.verify.tolerance import kind_of

__all__ = ["Custom", "CustomMetric", "Errors", "Meter", "OutputArrays", "TopK", "tensor_outputs"]

OutputArrays = Mapping[str, Array]
CustomMetric = Callable[[OutputArrays, object], float]


class Meter(Protocol):
    """Adds up what a metric needs."""

    def add(self, outputs: OutputArrays, labels: Array | None, reference: OutputArrays | None) -> None:
        """Take a batch into account."""

    def value(self) -> float:
        """The metric over all batches."""


class TopK:
    """The share of examples whose class is among the best scores, in percent."""

    def __init__(self, count: int) -> None:
        self._count, self._right, self._seen = count, 0, 0

    def add(self, outputs: OutputArrays, labels: Array | None, reference: OutputArrays | None) -> None:
        """Take a batch into account."""
        name, scores = _first(outputs)
        if labels is None:
            if reference is None:
                raise CalibrationError(f"metric 'top{self._count}' needs labels, or a reference model to agree with")
            theirs = reference[name]
            axis = class_axis(scores, None)
            expected = np.argmax(np.moveaxis(theirs, axis, -1), -1)
        else:
            axis = class_axis(scores, labels)
            expected = np.argmax(labels, axis) if labels.shape == scores.shape else labels
        ranked = np.moveaxis(scores, axis, -1).reshape(-1, scores.shape[axis])
        wanted = np.asarray(expected).reshape(-1)
        if self._count == 1:
            hits = np.argmax(ranked, -1) == wanted
        else:  # ties go to the smaller class, as argmax decides them
            best = np.argsort(-ranked.astype(np.float64), -1, kind="stable")[:, : self._count]
            hits = (best == wanted[:, None]).any(-1)
        self._right += int(hits.sum())
        self._seen += wanted.size

    def value(self) -> float:
        """The metric over all batches."""
        return 100.0 * self._right / self._seen if self._seen else math.nan


class Errors:
    """Sums of squares of what is expected, of the error, and of both multiplied, for each float output."""

    def __init__(self, metric: str) -> None:
        self._metric = metric
        self._sums: dict[str, list[float]] = {}

    def add(self, outputs: OutputArrays, labels: Array | None, reference: OutputArrays | None) -> None:
        """Take a batch into account."""
        for name, (found, expected) in _pairs(self._metric, outputs, labels, reference).items():
            with np.errstate(all="ignore"):
                x, y = expected.astype(np.float64), found.astype(np.float64)
                same = (x == y) | (np.isnan(x) & np.isnan(y))
                x, y = np.where(same & ~np.isfinite(x), 0.0, x), np.where(same & ~np.isfinite(y), 0.0, y)
                sums = (np.sum(x * x), np.sum((x - y) ** 2), np.sum(x * y), np.sum(y * y), x.size)
            total = self._sums.setdefault(name, [0.0] * 5)
            self._sums[name] = [a + float(b) for a, b in zip(total, sums, strict=True)]

    def value(self) -> float:
        """The metric over all batches."""
        values = [_of_sums(self._metric, sums) for sums in self._sums.values() if sums[4]]
        if not values:
            return math.nan
        return max(values) if self._metric == "mse" else min(values)


def _of_sums(metric: str, sums: list[float]) -> float:
    signal, noise, product, power, size = sums
    if not math.isfinite(noise):  # a number became infinite or NaN
        return {"mse": math.inf, "cosine": -1.0, "sqnr": -math.inf}[metric]
    if metric == "mse":
        return noise / size
    if metric == "cosine":
        return product / math.sqrt(signal * power) if signal and power else float(signal == power)
    if not noise:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


def _pairs(
    metric: str, outputs: OutputArrays, labels: Array | None, reference: OutputArrays | None
) -> dict[str, tuple[Array, Array]]:
    if reference is not None:
        floats = [name for name, array in outputs.items() if kind_of(array.dtype) == "float"]
        if not floats:
            raise CalibrationError(
                f"metric {metric!r} compares float outputs, and the model has none; choose top1 or a module:callable"
            )
        return {name: (outputs[name], reference[name]) for name in floats}
    name, found = _first(outputs)
    if labels is None:
        raise CalibrationError(f"metric {metric!r} needs a reference model, or labels of the shape of output {name!r}")
    if labels.shape != found.shape:
        raise CalibrationError(
            f"metric {metric!r}: labels have shape {list(labels.shape)} for a batch, output {name!r} has {list(found.shape)}"
        )
    return {name: (found, labels)}


def _first(outputs: OutputArrays) -> tuple[str, Array]:
    for name, array in outputs.items():
        if array.ndim and kind_of(array.dtype) != "text":
            return name, array
    raise CalibrationError("the model has no output of numbers to judge; write a metric of your own as module:callable")


class Custom:
    """Gathers everything for a function of the user."""

    def __init__(self, name: str, function: CustomMetric) -> None:
        self._name, self._function = name, function
        self._outputs: dict[str, list[Array]] = {}
        self._labels: list[Array] = []
        self._reference: dict[str, list[Array]] = {}

    def add(self, outputs: OutputArrays, labels: Array | None, reference: OutputArrays | None) -> None:
        """Take a batch into account."""
        for name, array in outputs.items():
            self._outputs.setdefault(name, []).append(array)
        if labels is not None:
            self._labels.append(labels)
        for name, array in (reference or {}).items():
            self._reference.setdefault(name, []).append(array)

    def value(self) -> float:
        """The metric over all batches."""
        expected: object = _joined(self._labels) if self._labels else _all_joined(self._reference)
        try:
            found = self._function(_all_joined(self._outputs), expected)
        except Exception as err:
            raise CalibrationError(f"metric {self._name!r} failed: {type(err).__name__}: {err}") from err
        try:
            return float(found)
        except (TypeError, ValueError):
            raise CalibrationError(f"metric {self._name!r} gave {found!r:.80}, expected a number") from None


def _all_joined(arrays: Mapping[str, list[Array]]) -> dict[str, Array]:
    return {name: _joined(parts) for name, parts in arrays.items()}


def _joined(parts: list[Array]) -> Array:
    if len({part.shape[1:] for part in parts}) > 1:  # batches of other sizes: a list of arrays
        found = np.empty(len(parts), object)
        found[:] = parts
        return found
    return np.concatenate(parts) if parts[0].ndim else np.stack(parts)


def tensor_outputs(found: Outputs) -> dict[str, Array]:
    """The outputs that are arrays, by name; sequences, maps and empty optionals say nothing to a metric."""
    return {name: value for name, value in found.items() if isinstance(value, np.ndarray)}
