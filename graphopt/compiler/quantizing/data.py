"""What people bring as data, opened for a model: as examples that can be read again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from graphopt.compiler.quantizing.examples import Examples, is_batched
from graphopt.compiler.quantizing.labels import examples_in
from graphopt.errors import CalibrationError, ExecutionError
from graphopt.verify import check_inputs

if TYPE_CHECKING:
    from graphopt.runtime.base import Feeds, ValueSpec

__all__ = ["DEFAULT_BATCH", "open_examples"]

#: Examples in a batch, where the model takes any number and nobody says.
DEFAULT_BATCH: Final = 8


def open_examples(
    data: object, inputs: Sequence[ValueSpec], *, batch: int | None = None, limit: int | None = None
) -> Examples:
    """Data for a model.

    Args:
        data: arrays by name with examples along the first axis; a single array for a model with one input; batches, each arrays by name.
        inputs: of the model.
        batch: examples in a batch, where whole arrays are cut.
        limit: how many examples are used.

    Raises:
        CalibrationError: if it is nothing of that kind, is empty, or does not fit the model.
    """
    if isinstance(data, Examples):
        return data
    if isinstance(data, np.ndarray):
        if len(inputs) != 1:
            names = ", ".join(spec.name for spec in inputs)
            raise CalibrationError(f"the data is one array, and the model has the inputs {names}; give arrays by name")
        data = {inputs[0].name: data}
    if isinstance(data, Mapping):
        return Examples(_Cut(data, inputs, _batch_size(inputs, batch), limit))
    if isinstance(data, str | os.PathLike) or not isinstance(data, Iterable):
        raise CalibrationError(f"data is a {type(data).__name__}, expected arrays by name, or batches of them")
    return Examples(_Limited(data if isinstance(data, Sequence) else list(data), limit))


def _batch_size(inputs: Sequence[ValueSpec], batch: int | None) -> int:
    fixed = [spec.tensor.shape[0] for spec in inputs if spec.tensor is not None and spec.tensor.shape]
    sizes = {size for size in fixed if isinstance(size, int)}
    if len(sizes) == 1 and not is_batched(inputs):
        return max(1, sizes.pop())
    return batch or DEFAULT_BATCH


class _Cut:
    """Whole arrays, cut into batches along the first axis; a last one that is not full is left out where the model's batch is fixed."""

    def __init__(
        self, arrays: Mapping[object, object], inputs: Sequence[ValueSpec], batch: int, limit: int | None
    ) -> None:
        self._arrays = {str(name): np.asarray(array) for name, array in arrays.items()}
        self._batch = batch
        counts = {name: len(array) if array.ndim else 0 for name, array in self._arrays.items()}
        if not counts or not min(counts.values()):
            raise CalibrationError("the data is empty; bring at least one example for each input")
        if len(set(counts.values())) > 1:
            said = ", ".join(f"{name} {count:,}" for name, count in counts.items())
            raise CalibrationError(f"the inputs have different numbers of examples: {said}; bring as many for each")
        self._count = min(min(counts.values()), limit or max(counts.values()))
        first = {name: array[: self._batch] for name, array in self._arrays.items()}
        try:
            check_inputs(first, inputs, where="data")
        except ExecutionError as err:
            raise CalibrationError(str(err)) from err

    def __iter__(self) -> Iterator[Feeds]:
        for at in range(0, self._count, self._batch):
            yield {name: array[at : min(at + self._batch, self._count)] for name, array in self._arrays.items()}


class _Limited:
    """The first batches."""

    def __init__(self, batches: Sequence[Feeds], limit: int | None) -> None:
        self._batches, self._limit = batches, limit

    def __iter__(self) -> Iterator[Feeds]:
        left = self._limit
        for batch in self._batches:
            if left is not None and left <= 0:
                return
            yield batch
            if left is not None and isinstance(batch, Mapping):
                left -= examples_in(batch)
