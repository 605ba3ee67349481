"""Second moments of what a layer reads: ``X'X``, by which the error that other weights make in outputs is known without the data.

``|X (W - Q)'|^2 = sum of (W - Q) X'X (W - Q)'``. Kept as one matrix for each group; what is kept doesn't grow with the data.
"""

from __future__ import annotations

from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from graphopt.ir import Array
from graphopt.transforms.statistics.layer_inputs import LayerInput

__all__ = ["Gram", "LayerMean"]

_Float64 = npt.NDArray[np.float64]
#: Rows for each column of the matrix after which every other batch is looked at, then every fourth and so on.
_ENOUGH: Final = 8
_MANY: Final = 1 << 15
_PRODUCTS: Final = 1 << 22
_MOST_ROWS: Final = 1 << 11
#: Bytes of rows that wait to be multiplied.
_WAITING: Final = 1 << 20


class Gram:
    """The matrix ``X'X`` of a layer's input, from a part of its rows.

    Rows are taken at equal distances, other ones from batch to batch, and no random numbers are drawn. When 8 rows for each column
    were seen (32,768 for few columns), every other batch is looked at, after twice as many every fourth: the time that more data takes
    shrinks.

    Args:
        layer: reads the rows.
        rows: at most so many of each sample (entry of the first axis) of a batch, 2,048 of a batch.

    Attributes:
        count: rows that were seen.
        total: their sum, float64 [groups, columns].
    """

    def __init__(self, layer: LayerInput, rows: int = 96) -> None:
        self._layer, self._rows = layer, rows
        self.count = 0
        self.total: _Float64 = np.zeros((layer.groups, layer.columns))
        self._products: _Float64 = np.zeros((layer.groups, layer.columns, layer.columns))
        self._waiting: list[npt.NDArray[np.floating[Any]]] = []
        self._batches = 0
        self._enough = max(_ENOUGH * layer.columns, min(_MANY, _PRODUCTS // layer.columns))
        self._every = 1

    def observe(self, array: Array) -> None:
        """Take a batch into account."""
        turn, self._batches = self._batches, self._batches + 1
        if turn % self._every:
            return
        taken = self._layer.rows(array, min(self._rows * max(len(array), 1), _MOST_ROWS), turn)
        rows = taken.astype(np.float64) if taken.dtype == np.float64 else taken.astype(np.float32, copy=False)
        self.count += rows.shape[1]
        self.total += rows.sum(axis=1, dtype=np.float64)
        self._waiting.append(rows)
        if sum(part.nbytes for part in self._waiting) >= _WAITING:
            self._multiply()
        while self.count >= self._enough:
            self._enough, self._every = 2 * self._enough, 2 * self._every

    def _multiply(self) -> None:
        """Multiply rows that wait: a product of many rows costs less than many of a few."""
        if self._waiting:
            rows = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting, axis=1)
            self._products += rows.swapaxes(1, 2) @ rows
            self._waiting = []

    def merge(self, other: Self) -> None:
        """Take into account what another one has seen."""
        self.count += other.count
        self.total += other.total
        self._products += other.products
        self._batches += other._batches

    @property
    def products(self) -> _Float64:
        """The sum of the products of rows with themselves, float64 [groups, columns, columns]."""
        self._multiply()
        return self._products

    @property
    def moments(self) -> _Float64:
        """Mean of the products of a row with itself, float64 [groups, columns, columns]. Asked for only after something was seen."""
        assert self.count, "nothing was seen"
        return self.products / self.count

    @property
    def mean(self) -> _Float64:
        """Mean row, float64 [groups, columns]."""
        assert self.count, "nothing was seen"
        return self.total / self.count


class LayerMean:
    """The mean of all rows that a layer reads.

    Args:
        layer: reads the rows.

    Attributes:
        count: rows that were seen.
    """

    def __init__(self, layer: LayerInput) -> None:
        self._layer = layer
        self.count = 0
        self._mean: _Float64 = np.zeros((layer.groups, layer.columns))

    def observe(self, array: Array) -> None:
        """Take a batch into account."""
        self._take(*self._layer.mean(array))

    def merge(self, other: Self) -> None:
        """Take into account what another one has seen."""
        self._take(other.count, other._mean)

    def _take(self, count: int, mean: _Float64) -> None:
        if count:
            self.count += count
            self._mean += (mean - self._mean) * (count / self.count)

    @property
    def mean(self) -> _Float64:
        """Mean row, float64 [groups, columns]. Asked for only after something was seen."""
        assert self.count, "nothing was seen"
        return self._mean
