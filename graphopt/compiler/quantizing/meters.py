"""What metrics add up, batch by batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from graphopt.compiler.quantizing.labels import class_axis
from graphopt.errors import CalibrationError
from graphopt.ir import Array
from graphopt.runtime.base import Outputs
from graphopt.verify.tolerance import kind_of

__all__ = ["Custom", "CustomMetric", "Errors", "Meter", "OutputArrays", "TopK", "tensor_outputs"]

#: Of fewer parts nobody can tell how much they differ.
_FEWEST_PARTS: Final = 3

OutputArrays = Mapping[str, Array]
CustomMetric = Callable[[OutputArrays, object], float]


class Meter(Protocol):
    """Adds up what a metric needs, part by part: batches, or single examples."""

    def add(self, outputs: OutputArrays, labels: Array | None, reference: OutputArrays | None) -> None:
        """Take a part into account."""

    def value(self) -> float:
        """The metric over all parts."""

    def doubt(self, before: Meter | None = None) -> float:
        """The standard error of the value, or of its distance from that of a meter that saw the same parts of another model.

        It is how much the value would differ on other data of the kind, found by leaving out each part once (the jackknife); 0 where
        there is nothing to tell it by.
        """


class TopK:
    """The share of examples whose class is among the best scores, in percent.

    An output of integers with as many elements as there are labels, or without labels, is taken for the classes themselves.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._parts: list[tuple[int, int]] = []

    def add(self, outputs: OutputArrays, labels: Array | None, reference: OutputArrays | None) -> None:
        """Take a batch into account."""
        name, scores = _first(outputs)
        if scores.dtype.kind in "iu" and (labels is None or labels.size == scores.size):
            self._add_classes(name, scores, labels, reference)
            return
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
        self._parts.append((int(hits.sum()), wanted.size))

    def _add_classes(self, name: str, found: Array, labels: Array | None, reference: OutputArrays | None) -> None:
        if self._count > 1:
            raise CalibrationError(f"output {name!r} gives classes and no scores; take metric 'top1'")
        expected = labels if labels is not None else None if reference is None else reference[name]
        if expected is None:
            raise CalibrationError("metric 'top1' needs labels, or a reference model to agree with")
        self._parts.append((int((found.reshape(-1) == expected.reshape(-1)).sum()), found.size))

    def value(self) -> float:
        """The metric over all parts."""
        right, seen = (sum(part) for part in zip(*self._parts, strict=True)) if self._parts else (0, 0)
        return 100.0 * right / seen if seen else math.nan

    def doubt(self, before: Meter | None = None) -> float:
        """The standard error of the share, or of how it has changed."""
        parts = np.array(self._parts, np.float64)
        if len(parts) < _FEWEST_PARTS or not parts[:, 1].sum():
            return 0.0
        gained = parts[:, 0]
        if isinstance(before, TopK) and len(before._parts) == len(parts):
            gained = gained - np.array(before._parts, np.float64)[:, 0]
        return 100.0 * _ratio_error(gained, parts[:, 1])


class Errors:
    """Sums of squares of what is expected, of the error, and of both multiplied, for each float output."""

    def __init__(self, metric: str) -> None:
        self._metric = metric
        self._parts: dict[str, list[tuple[float, ...]]] = {}

    def add(self, outputs: OutputArrays, labels: Array | None, reference: OutputArrays | None) -> None:
        """Take a batch into account."""
        for name, (found, expected) in _pairs(self._metric, outputs, labels, reference).items():
            with np.errstate(all="ignore"):
                x, y = expected.astype(np.float64), found.astype(np.float64)
                same = (x == y) | (np.isnan(x) & np.isnan(y))
                x, y = np.where(same & ~np.isfinite(x), 0.0, x), np.where(same & ~np.isfinite(y), 0.0, y)
                sums = (np.sum(x * x), np.sum((x - y) ** 2), np.sum(x * y), np.sum(y * y), x.size)
            self._parts.setdefault(name, []).append(tuple(map(float, sums)))

    def value(self) -> float:
        """The metric over all parts, of the worst output."""
        values = [value for value, _ in self._values()]
        if not values:
            return math.nan
        return max(values) if self._metric == "mse" else min(values)

    def doubt(self, before: Meter | None = None) -> float:
        """The standard error of the metric of the worst output."""
        del before  # errors are those beside a reference already
        values = self._values()
        if not values:
            return 0.0
        worst = max if self._metric == "mse" else min
        return _left_out(self._metric, worst(values, key=lambda item: item[0])[1])

    def _values(self) -> list[tuple[float, NDArray[np.float64]]]:
        """The metric of each output that has numbers, and the sums of its parts."""
        found = []
        for parts in self._parts.values():
            sums = np.array(parts, np.float64)
            with np.errstate(all="ignore"):
                total = sums.sum(0)
            if total[4]:
                found.append((_of_sums(self._metric, total), sums))
        return found


def _left_out(metric: str, parts: NDArray[np.float64]) -> float:
    """The jackknife's standard error of a metric, from the sums of parts [parts, sums]."""
    parts = parts[parts[:, 4] > 0]
    count = len(parts)
    if count < _FEWEST_PARTS:
        return 0.0
    with np.errstate(all="ignore"):
        without = [_of_sums(metric, sums) for sums in parts.sum(0) - parts]
        found = float(np.sqrt((count - 1) / count * np.square(np.array(without) - np.mean(without)).sum()))
    return found if math.isfinite(found) else 0.0


def _ratio_error(numbers: NDArray[np.float64], sizes: NDArray[np.float64]) -> float:
    """The standard error of the sum of numbers over the sum of their sizes."""
    count, total = len(numbers), float(sizes.sum())
    left = numbers - numbers.sum() / total * sizes
    return float(np.sqrt(np.square(left).sum() * count / (count - 1)) / total)


def _of_sums(metric: str, sums: NDArray[np.float64]) -> float:
    signal, noise, product, power, size = map(float, sums)
    if not math.isfinite(noise):  # a number became infinite or NaN
        return {"mse": math.inf, "cosine": -1.0, "sqnr": -math.inf}[metric]
    if metric == "mse":
        return noise / size
    if metric == "cosine":
        return product / math.sqrt(signal * power) if signal and power else float(signal == power)
    if noise <= 0:
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

    def doubt(self, before: Meter | None = None) -> float:
        """Nothing: a function of all outputs has no parts."""
        del before
        return 0.0

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
