"""What people bring to calibrate with, as batches that can be read again: files, folders, arrays, iterables, functions."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, cast

import numpy as np

from graphopt.compiler.calibration.arrays import StoredArray, stored_arrays
from graphopt.compiler.calibration.functions import guarded, imported, only_input, ready_batches
from graphopt.compiler.calibration.layout import (
    DEFAULT_BATCH,
    batches_of,
    by_input,
    examples_only,
    grouped,
    smallest_batch,
)
from graphopt.errors import CalibrationError
from graphopt.ir import Array, Model
from graphopt.runtime.base import Feeds, ValueSpec

__all__ = ["CalibrationData", "input_specs", "is_cut", "open_data"]

_FUNCTION: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


class CalibrationData:
    """Batches, from the first one on each time that it is iterated over. No batch is kept.

    Args:
        read: begins to read.
        where: names the data in messages.
        limit: how many examples are used at most, counted along the first axis of the first input.
        once: whether it can be read only once.
    """

    def __init__(
        self, read: Callable[[], Iterator[Feeds]], where: str, *, limit: int | None = None, once: bool = False
    ) -> None:
        self._read = read
        self.where = where
        self._limit = limit
        self._once = once
        self._begun = False

    def __iter__(self) -> Iterator[Feeds]:
        for batch, _ in self.counted():
            yield batch

    def counted(self, *, skip: int = 0) -> Iterator[tuple[Feeds, int]]:
        """Batches, each with the number of its examples.

        Args:
            skip: examples at the start to leave out; the limit counts from there on.

        Raises:
            CalibrationError: if there is none, or it can be read only once and was.
        """
        if self._once and self._begun:
            raise CalibrationError(
                f"{self.where} can be read only once, and is needed again; bring a list, or a function"
            )
        self._begun = True
        left, none = self._limit, True
        for batch in self._read():
            count = _examples(batch)
            if skip and skip >= count:
                skip -= count
                continue
            if left is not None and left <= 0:
                return
            used = count - skip if left is None else min(left, count - skip)
            yield batch if used == count else _part(batch, skip, used, count), used
            skip, none = 0, False
            left = None if left is None else left - used
        if none:
            said = "" if self.where == "data" else f" ({self.where} is empty)"
            raise CalibrationError(f"there is no batch to calibrate with; bring at least one{said}")


def input_specs(model: Model) -> list[ValueSpec]:
    """What a model takes: those of its inputs that have no default."""
    return [ValueSpec(value.name, value.type) for value in model.graph.inputs if value.const is None]


def is_cut(data: object) -> bool:
    """Whether data are arrays that :func:`open_data` cuts into batches, rather than batches that come ready-made."""
    if isinstance(data, str) and _FUNCTION.fullmatch(data) and not os.path.exists(data):
        return False
    return isinstance(data, str | os.PathLike | np.ndarray | Mapping)


def open_data(
    data: object,
    inputs: Sequence[ValueSpec],
    *,
    batch: int | None = None,
    limit: int | None = None,
    usual: int = DEFAULT_BATCH,
) -> CalibrationData:
    """Data for a model.

    Args:
        data: path of an ``.npz`` or ``.npy`` file, or of a folder of them; ``"module:function"`` or a function that gives batches each time
            that it is called; arrays by name, with examples along the first axis; one array for a model with one input; any iterable of
            batches, each an array for each input by name (or one array).
        inputs: of the model; see :func:`input_specs`.
        batch: examples in a batch, where arrays are cut and the model leaves it open.
        limit: how many examples are used; all by default.
        usual: examples in a batch where nobody says.

    Raises:
        CalibrationError: if it is nothing of that kind, can't be read, or does not fit the model. What only reading all of it tells is
            said while it is iterated over.

    Example:
        >>> from graphopt.ir import DType, TensorType
        >>> spec = ValueSpec("x", TensorType(DType.FLOAT, (None, 3)))
        >>> [batch["x"].shape for batch in open_data(np.zeros((10, 3), np.float32), [spec], batch=4)]
        [(4, 3), (4, 3), (2, 3)]
    """
    for name, number in (("batch", batch), ("limit", limit)):
        if number is not None and number < 1:
            raise CalibrationError(f"{name} is {number}, expected 1 or more")
    if isinstance(data, CalibrationData):
        return data
    if isinstance(data, str) and _FUNCTION.fullmatch(data) and not os.path.exists(data):
        return _from_function(
            imported(
                data,
                f"data {data!r}",
                "that gives batches",
                failed="is no file, and can't be imported as module:function",
            ),
            inputs,
            f"data of {data!r}",
            limit,
        )
    if isinstance(data, str | os.PathLike):
        return _of_path(Path(data), inputs, batch, limit, usual)
    if isinstance(data, np.ndarray):
        data = {only_input(inputs, "the data"): data}
    if isinstance(data, Mapping):
        held = [StoredArray.of(str(name), np.asarray(array)) for name, array in data.items()]
        arrays = by_input(held, inputs, "data")
        return CalibrationData(
            lambda: iter(batches_of(arrays, inputs, batch, "data", usual=usual)), "data", limit=limit
        )
    if callable(data):
        name = getattr(data, "__name__", type(data).__name__)
        return _from_function(cast("Callable[[], object]", data), inputs, f"data of {name!r}", limit)
    if isinstance(data, Iterable):
        once = iter(data) is data
        return CalibrationData(lambda: ready_batches(data, inputs, "data"), "data", limit=limit, once=once)
    raise CalibrationError(
        f"data is a {type(data).__name__}, expected a path, arrays by name, a function, or batches; see graphopt calibrate --help"
    )


# -- files --------------------------------------------------------------------------------------------------------------------


def _of_path(
    path: Path, inputs: Sequence[ValueSpec], batch: int | None, limit: int | None, usual: int
) -> CalibrationData:
    where = f"data {str(path)!r}"
    if "\0" in str(path) or not path.exists():
        raise CalibrationError(f"{where} cannot be read: no such file or folder; check the path")
    if path.is_dir():
        files = sorted(item for item in path.iterdir() if item.suffix in (".npy", ".npz"))
        if not files:
            raise CalibrationError(f"{where} has no .npy or .npz file; put one for each batch or example there")
    else:
        files = [path]
    first = by_input(stored_arrays(files[0]), inputs, f"data {str(files[0])!r}")
    size = smallest_batch(inputs, batch or usual)
    together = len(files) > 1 and size > 1 and examples_only(first, inputs)

    def read() -> Iterator[dict[str, Array]]:
        for file in files:
            said = f"data {str(file)!r}"
            yield from batches_of(by_input(stored_arrays(file), inputs, said), inputs, batch, said, usual=usual)

    return CalibrationData(lambda: iter(grouped(read(), size) if together else read()), where, limit=limit)


def _from_function(
    function: Callable[[], object], inputs: Sequence[ValueSpec], where: str, limit: int | None
) -> CalibrationData:
    def read() -> Iterator[Feeds]:
        return ready_batches(guarded(function, where), inputs, where)

    return CalibrationData(read, where, limit=limit)


# -- examples -----------------------------------------------------------------------------------------------------------------


def _examples(batch: object) -> int:
    """How many examples a batch has, by the first array with axes."""
    if isinstance(batch, Mapping):
        for array in batch.values():
            if isinstance(array, np.ndarray) and array.ndim:
                return len(array)
    return 1


def _part(batch: Feeds, start: int, size: int, count: int) -> Feeds:
    """Some examples of a batch: of all its arrays that have so many."""
    return {
        name: array[start : start + size]
        if isinstance(array, np.ndarray) and array.ndim and len(array) == count
        else array
        for name, array in batch.items()
    }
