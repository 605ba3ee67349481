"""Which axis of given arrays has the examples, and the batches that they are cut into.

By the number of axes that the model states for an input: one more is a stack of whole batches; as many have examples along the first; one
less is a single example. An input whose first size is fixed takes pieces of that size, and the same array each time if it has just that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

import numpy as np

from graphopt.compiler.calibration.arrays import StoredArray
from graphopt.errors import CalibrationError
from graphopt.ir import Array, TensorType
from graphopt.runtime.base import ValueSpec

__all__ = ["DEFAULT_BATCH", "batches_of", "by_input", "examples_only", "grouped", "smallest_batch"]

#: Examples in a batch, where the model takes any number and nobody says.
DEFAULT_BATCH: Final = 8
_Kind = Literal["stack", "cut", "whole", "example"]


def by_input(arrays: Sequence[StoredArray], inputs: Sequence[ValueSpec], where: str) -> dict[str, StoredArray]:
    """Arrays by the input that they are for; a single one is for the only input, whatever it is called.

    Raises:
        CalibrationError: if an input has none, or an array no input.
    """
    required = [spec.name for spec in inputs]
    if len(arrays) == 1 and len(required) == 1:
        return {required[0]: arrays[0]}
    found = {array.name: array for array in arrays}
    for name in required:
        if name not in found:
            said = ", ".join(map(repr, found)) or "nothing"
            raise CalibrationError(f"{where}: input {name!r} has no array; found {said}, name arrays as the inputs")
    return found


def batches_of(
    arrays: Mapping[str, StoredArray],
    inputs: Sequence[ValueSpec],
    batch: int | None,
    where: str,
    *,
    usual: int = DEFAULT_BATCH,
) -> Iterator[dict[str, Array]]:
    """The batches that arrays make.

    Args:
        arrays: by name of the input.
        inputs: of the model, with their types.
        batch: examples in one, where the model leaves it open.
        where: names the data in messages.
        usual: examples in one, where nobody says.

    Raises:
        CalibrationError: if an array does not fit its input, is empty, or they have different numbers of examples.
    """
    shapes = {spec.name: spec.type.shape for spec in inputs if isinstance(spec.type, TensorType)}
    kinds = {name: _kind(array, shapes.get(name)) for name, array in arrays.items()}
    lengths = {arrays[name].shape[0] for name, kind in kinds.items() if kind == "cut" and len(arrays[name].shape) > 1}
    streams: dict[str, Iterator[Array]] = {}
    counts: dict[str, int] = {}
    for name, array in arrays.items():
        shape, kind = shapes.get(name), kinds[name]
        if kind == "cut" and len(array.shape) == 1 and array.shape[0] not in lengths and batch is None:
            kind = "whole"  # a signal or a text rather than numbers for as many examples
        if kind in ("whole", "example"):
            continue
        fixed = shape[0] if shape else None
        size = 1 if kind == "stack" else fixed if isinstance(fixed, int) else batch or usual
        if kind == "cut" and isinstance(fixed, int) and array.shape[0] % fixed:
            raise CalibrationError(
                f"{where}: input {name!r} has {array.shape[0]:,} examples, and the model takes {fixed} at a time; leave out "
                f"{array.shape[0] % fixed}, or bring more"
            )
        if kind == "cut" and isinstance(fixed, int) and batch is not None and batch != fixed:
            raise CalibrationError(
                f"a batch of {batch} is asked for, and input {name!r} takes {fixed} at a time; leave it out"
            )
        counts[name] = -(-array.shape[0] // size)
        if not counts[name]:
            raise CalibrationError(f"{where}: input {name!r} is empty; bring at least one example")
        streams[name] = (item[0] for item in array.rows(1)) if kind == "stack" else array.rows(size)
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{name!r} {count:,}" for name, count in counts.items())
        raise CalibrationError(f"{where}: inputs have different numbers of batches: {said}; bring as many for each")
    same = {name: arrays[name].whole() for name in arrays if name not in streams}
    same = {name: item[None] if kinds[name] == "example" else item for name, item in same.items()}
    for _ in range(next(iter(counts.values()), 1)):
        yield {**same, **{name: next(stream) for name, stream in streams.items()}}


def _kind(array: StoredArray, shape: Sequence[object] | None) -> _Kind:
    if shape is None:
        return "cut" if len(array.shape) > 1 else "whole"
    if len(array.shape) == len(shape) + 1:
        return "stack"
    if len(array.shape) + 1 == len(shape):
        return "example"
    if len(array.shape) != len(shape) or not shape:
        return "whole"  # what does not fit is refused with the batch
    return "whole" if array.shape[0] == shape[0] or shape[0] == 0 else "cut"


def smallest_batch(inputs: Sequence[ValueSpec], batch: int) -> int:
    """Examples that single ones are put together to: what the model fixes, or what was asked for."""
    fixed = [spec.type.shape[0] for spec in inputs if isinstance(spec.type, TensorType) and spec.type.shape]
    return next((size for size in fixed if isinstance(size, int)), batch)


def examples_only(arrays: Mapping[str, StoredArray], inputs: Sequence[ValueSpec]) -> bool:
    """Whether each array is a single example."""
    shapes = {spec.name: spec.type.shape for spec in inputs if isinstance(spec.type, TensorType)}
    return bool(arrays) and all(_kind(array, shapes.get(name)) == "example" for name, array in arrays.items())


def grouped(batches: Iterator[dict[str, Array]], size: int) -> Iterator[dict[str, Array]]:
    """Single examples put together, as long as they have the same shapes."""
    waiting: list[dict[str, Array]] = []
    for item in batches:
        if waiting and (len(waiting) == size or _shapes(item) != _shapes(waiting[0])):
            yield _together(waiting)
            waiting = []
        waiting.append(item)
    if waiting:
        yield _together(waiting)


def _shapes(item: Mapping[str, Array]) -> dict[str, tuple[object, ...]]:
    return {name: (array.shape, array.dtype) for name, array in item.items()}


def _together(items: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    if len(items) == 1:
        return dict(items[0])
    return {name: np.concatenate([item[name] for item in items]) for name in items[0]}
