"""Data as batches that can be read again, and a part of them that is kept apart to judge on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from graphopt.compiler.quantizing.labels import Labels, examples_in
from graphopt.errors import CalibrationError
from graphopt.ir import Array

if TYPE_CHECKING:
    from graphopt.runtime.base import Feeds, ValueSpec

__all__ = ["Examples", "Split", "is_batched", "split_examples"]

#: Of so many batches one is held out.
_EVERY: Final = 4
#: What is held out is kept in memory, with what the original makes of it: so many examples and bytes at most.
_MOST_EXAMPLES: Final = 1024
_MOST_BYTES: Final = 256 << 20


class Examples:
    """Batches that can be read again and again.

    Args:
        batches: gives them from the first one on, each time that it is iterated.
    """

    def __init__(self, batches: Iterable[Feeds]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[Feeds]:
        return iter(self._batches)


@dataclass(frozen=True)
class Split:
    """Data in two parts.

    Attributes:
        data: all of it.
        every: one of so many batches is held out; 0 when the data is too little, so that all of it is in both parts.
        held_out: batches to judge on, with their labels.
        note: what people should know, ``""`` for nothing.
    """

    data: Examples
    every: int
    held_out: Sequence[tuple[Feeds, Array | None]]
    note: str = ""

    def calibration(self) -> Iterator[Feeds]:
        """The batches that ranges are found from."""
        for number, batch in enumerate(self.data):
            if not self.every or number % self.every != self.every - 1:
                yield batch

    @property
    def examples(self) -> int:
        """How many examples are held out."""
        return sum(examples_in(feeds) for feeds, _ in self.held_out)


def split_examples(data: Examples, labels: Array | None = None, *, share: int = _EVERY) -> Split:
    """Keep one of ``share`` batches apart. Reads the data once.

    Args:
        data: all of it.
        labels: one for each example.
        share: 2 for half of it, 4 for a quarter.

    Raises:
        CalibrationError: if there is no batch, or labels do not fit the data.

    Example:
        >>> batches = [{"x": np.full((2, 3), at, np.float32)} for at in range(8)]
        >>> made = split_examples(Examples(batches))
        >>> [int(feeds["x"][0, 0]) for feeds, _ in made.held_out], len(list(made.calibration()))
        ([3, 7], 6)
    """
    kept: list[tuple[Feeds, Array | None]] = []
    few: list[tuple[Feeds, Array | None]] = []
    examples = size = number = 0
    for number, (feeds, known) in enumerate(Labels(labels).batches(iter(data)), start=1):
        full = examples >= _MOST_EXAMPLES or size >= _MOST_BYTES
        if number % share == 0 and not full:
            kept.append((feeds, known))
            examples += examples_in(feeds)
            size += _bytes_of(feeds)
        elif number < share:
            few.append((feeds, known))
    if not number:
        raise CalibrationError("the data is empty; bring at least one batch")
    if kept:
        return Split(data, share, kept)
    if number > 1:
        return Split(data, number, few[-1:])
    note = "there is one batch only, so the result is judged on the data that its ranges come from; bring more"
    return Split(data, 0, few, note)


def _bytes_of(feeds: Mapping[str, object]) -> int:
    return sum(value.nbytes for value in feeds.values() if isinstance(value, np.ndarray))


def is_batched(specs: Sequence[ValueSpec]) -> bool:
    """Whether a model takes any number of examples along the first axis of each input."""
    shapes = [None if spec.tensor is None else spec.tensor.shape for spec in specs]
    return bool(shapes) and all(shape is not None and shape and not isinstance(shape[0], int) for shape in shapes)
