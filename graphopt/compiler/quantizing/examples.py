"""Data as batches that can be read again, and a part of them that is kept apart to judge on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from graphopt.compiler.calibration.data import open_data
from graphopt.compiler.quantizing.labels import Labels, examples_in
from graphopt.errors import CalibrationError, ExecutionError
from graphopt.ir import Array, Model
from graphopt.passes import CalibrationSource, Observer, Range
from graphopt.verify import check_inputs

if TYPE_CHECKING:
    from graphopt.runtime.base import Feeds, ValueSpec

__all__ = ["FewBatches", "Split", "checked_batches", "first_examples", "is_batched", "open_examples", "split_examples"]

#: Of so many batches one is held out.
_EVERY: Final = 4
#: What is held out is kept in memory, with what the original makes of it: so many examples and bytes at most.
_MOST_EXAMPLES: Final = 1024
_MOST_BYTES: Final = 256 << 20
#: Examples to judge on, held out or not: of fewer nobody can tell how much others differ.
_FEWEST_JUDGED: Final = 64


def open_examples(
    data: object, inputs: Sequence[ValueSpec], *, batch: int | None = None, limit: int | None = None
) -> Iterable[Feeds]:
    """Data as batches that can be read again and again; what can be read only once is kept in memory.

    Args:
        data: as :func:`graphopt.compiler.calibration.data.open_data` takes it.
        inputs: of the model.
        batch: examples in a batch, where whole arrays are cut.
        limit: how many examples are used.

    Raises:
        CalibrationError: if it is nothing of that kind, can't be read, or does not fit the model.
    """
    if isinstance(data, Iterator):
        data = list(data)
    return open_data(data, inputs, batch=batch, limit=limit)


@dataclass(frozen=True)
class Split:
    """Data in two parts.

    Attributes:
        data: all of it.
        every: one of so many batches is held out; 0 when the data is too little, so that all of it is in both parts.
        held_out: batches to judge on, with their labels.
        note: what people should know, ``""`` for nothing.
        beside: batches of the other part, where few are held out: a model that is bad on these is bad, whatever the few say.
    """

    data: Iterable[Feeds]
    every: int
    held_out: Sequence[tuple[Feeds, Array | None]]
    note: str = ""
    beside: Sequence[tuple[Feeds, Array | None]] = ()

    def calibration(self) -> Iterator[Feeds]:
        """The batches that ranges are found from."""
        for number, batch in enumerate(self.data):
            if not self.every or number % self.every != self.every - 1:
                yield batch

    @property
    def examples(self) -> int:
        """How many examples are held out."""
        return sum(examples_in(feeds) for feeds, _ in self.held_out)


class FewBatches:
    """A :class:`graphopt.passes.CalibrationSource` whose ranges are those of another one, and whose tensors are those of a few examples.

    Args:
        all_of_it: knows ranges.
        few: of a few examples.

    Attributes:
        findings: what passes have found from the data, by what it depends on, for the next plan that asks.
    """

    def __init__(self, all_of_it: CalibrationSource, few: CalibrationSource) -> None:
        self._all, self._few = all_of_it, few
        self.findings: dict[object, object] = {}

    def observe(self, model: Model, observers: Mapping[str, Observer]) -> int:
        """Show tensors of a few examples."""
        return self._few.observe(model, observers)

    def ranges(self, model: Model, names: Sequence[str]) -> Mapping[str, Range]:
        """Ranges from all of the data."""
        return self._all.ranges(model, names)

    def forget(self, name: str) -> None:
        """What is known of a tensor holds no longer."""
        self._all.forget(name)


def first_examples(batches: Iterable[Feeds], count: int) -> Iterator[Feeds]:
    """The first batches, until they have so many examples."""
    for batch in batches:
        yield batch
        count -= examples_in(batch)
        if count <= 0:
            return


def checked_batches(data: Iterable[object], inputs: Sequence[ValueSpec]) -> Iterator[Feeds]:
    """Batches as a model takes them.

    Raises:
        CalibrationError: if one is no mapping, does not fit the model, or has NaN or infinities.
    """
    for number, batch in enumerate(data):
        if not isinstance(batch, Mapping):
            raise CalibrationError(
                f"batch {number} is a {type(batch).__name__}, expected arrays by name of the input, such as {{'x': array}}"
            )
        try:
            feeds = check_inputs(batch, inputs, where=f"batch {number}")
        except ExecutionError as err:
            raise CalibrationError(str(err)) from err
        for name, array in feeds.items():
            if isinstance(array, np.ndarray) and array.dtype.kind == "f" and not np.isfinite(array).all():
                kind = "NaN" if np.isnan(array).any() else "infinity"
                raise CalibrationError(f"batch {number}: input {name!r} has {kind}; clean the data")
        yield feeds


def split_examples(
    data: Iterable[Feeds],
    labels: Array | None = None,
    *,
    inputs: Sequence[ValueSpec] | None = None,
    share: int = _EVERY,
) -> Split:
    """Keep one of ``share`` batches apart. Reads the data once.

    Args:
        data: all of it.
        labels: one for each example.
        inputs: of the model, to hold the data to them; ``None`` to do without.
        share: 2 for half of it, 4 for a quarter.

    Raises:
        CalibrationError: if there is no batch, or labels do not fit the data.

    Example:
        >>> batches = [{"x": np.full((2, 3), at, np.float32)} for at in range(8)]
        >>> made = split_examples(batches)
        >>> [int(feeds["x"][0, 0]) for feeds, _ in made.held_out], len(list(made.calibration()))
        ([3, 7], 6)
    """
    kept: list[tuple[Feeds, Array | None]] = []
    few: list[tuple[Feeds, Array | None]] = []
    beside: list[tuple[Feeds, Array | None]] = []
    examples = size = number = 0
    batches = iter(data) if inputs is None else checked_batches(data, inputs)
    for number, (feeds, known) in enumerate(Labels(labels).batches(batches), start=1):
        full = examples >= _MOST_EXAMPLES or size >= _MOST_BYTES
        if number % share == 0 and not full:
            kept.append((feeds, known))
            examples += examples_in(feeds)
            size += _bytes_of(feeds)
            continue
        if number < share:
            few.append((feeds, known))
        if sum(examples_in(kept) for kept, _ in beside) < _FEWEST_JUDGED and size < _MOST_BYTES:
            beside.append((feeds, known))
            size += _bytes_of(feeds)
    if not number:
        raise CalibrationError("the data is empty; bring at least one batch")
    if kept:
        lacking = _FEWEST_JUDGED - examples
        return Split(data, share, kept, beside=_until(beside, lacking))
    if number > 1:
        return Split(data, number, few[-1:], beside=_until(few[:-1], _FEWEST_JUDGED))
    note = "there is one batch only, so the result is judged on the data that its ranges come from; bring more"
    return Split(data, 0, few, note)


def _until(batches: Sequence[tuple[Feeds, Array | None]], count: int) -> list[tuple[Feeds, Array | None]]:
    """The first batches, until they have so many examples; none for 0 and less."""
    found: list[tuple[Feeds, Array | None]] = []
    for item in batches:
        if count <= 0:
            break
        found.append(item)
        count -= examples_in(item[0])
    return found


def _bytes_of(feeds: Mapping[str, object]) -> int:
    return sum(value.nbytes for value in feeds.values() if isinstance(value, np.ndarray))


def is_batched(specs: Sequence[ValueSpec]) -> bool:
    """Whether a model takes any number of examples along the first axis of each input."""
    shapes = [None if spec.tensor is None else spec.tensor.shape for spec in specs]
    return bool(shapes) and all(shape is not None and shape and not isinstance(shape[0], int) for shape in shapes)
