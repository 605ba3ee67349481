"""What a model gave, at a glance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from rich.console import RenderableType

from graphopt.report.layout import columns
from graphopt.runtime.base import Datum, Outputs
from graphopt.verify.comparator import leaves

__all__ = ["TensorSummary", "summarize_outputs", "tensor_table"]

_SHOWN = 6


@dataclass(frozen=True, slots=True)
class TensorSummary:
    """A tensor.

    Attributes:
        name: of the output; elements of sequences and maps have their index or key in brackets.
        dtype: element type as numpy names it.
        shape: size of each axis.
        minimum: smallest finite element, ``None`` for texts and when there is none.
        maximum: largest one.
        mean: average of the finite elements.
        not_finite: how many elements are NaN or infinite.
        first: the first elements, as text.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    minimum: float | None
    maximum: float | None
    mean: float | None
    not_finite: int
    first: str


def summarize_outputs(outputs: Outputs) -> list[TensorSummary]:
    """The tensors in the outputs of a model.

    Args:
        outputs: by name.

    Example:
        >>> [found] = summarize_outputs({"y": np.array([1.0, np.inf, 3.0], np.float32)})
        >>> found.minimum, found.maximum, found.not_finite, found.first
        (1.0, 3.0, 1, '1, inf, 3')
    """
    return [_summary(leaf, array) for name, value in outputs.items() for leaf, array in leaves(value, name)]


def _summary(name: str, value: Datum) -> TensorSummary:
    if value is None:
        return TensorSummary(name, "none", (), None, None, None, 0, "")
    array = np.asarray(value)
    first = ", ".join(map(_text, array.reshape(-1)[:_SHOWN])) + (", ..." if array.size > _SHOWN else "")
    if array.dtype.kind in "OSUVc" or array.dtype.kind == "b":
        return TensorSummary(name, str(array.dtype), array.shape, None, None, None, 0, first)
    numbers = array.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    low, high, mean = (float(finite.min()), float(finite.max()), float(finite.mean())) if finite.size else (None,) * 3
    return TensorSummary(name, str(array.dtype), array.shape, low, high, mean, int(numbers.size - finite.size), first)


def _text(element: object) -> str:
    return f"{float(element):.6g}" if isinstance(element, np.floating) else str(element)


def tensor_table(tensors: Iterable[TensorSummary]) -> RenderableType:
    """Tensors as a table for the terminal."""
    rows = [
        (
            tensor.name,
            f"{tensor.dtype}[{', '.join(map(str, tensor.shape))}]",
            _number(tensor.minimum),
            _number(tensor.maximum),
            _number(tensor.mean),
            tensor.first + (f" ({tensor.not_finite:,} not finite)" if tensor.not_finite else ""),
        )
        for tensor in tensors
    ]
    return columns(("output", "type", "min>", "max>", "mean>", "first elements"), rows)


def _number(number: float | None) -> str:
    return "" if number is None else f"{number:.6g}"
