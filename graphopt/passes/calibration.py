"""What finds the range of a tensor from data: the contract of calibrators, which plugins bring.

Data comes in batches and none is kept, so what a calibrator remembers must not grow with their number. Batches may be seen by
several calibrators and merged afterwards: the result is that of one that has seen them all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

from graphopt.ir import Array, Model

__all__ = ["CalibrationSource", "Calibrator", "ExtensibleSource", "Observer", "Range"]


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers that a quantized tensor is to represent, from ``low`` to ``high``.

    Raises:
        ValueError: if an end is not finite, or they are in the wrong order.

    Example:
        >>> Range(-1.0, 2.5).magnitude
        2.5
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ValueError(f"the range is {self.low} to {self.high}, expected two finite numbers in order of size")

    @property
    def magnitude(self) -> float:
        """The larger absolute value of both ends, what a symmetric scheme needs."""
        return max(abs(self.low), abs(self.high))


@runtime_checkable
class Calibrator(Protocol):
    """Finds the range of one tensor. Its class is registered through ``graphopt_calibrators`` and called with options by keyword.

    Laws, which every calibrator keeps: two that are merged are equal, by their state, to one that observed the data of both, in any
    order; ``from_state(state())`` is equal to what gave the state; memory does not grow with the number of batches.

    A class may have more. ``extremes_suffice = True`` says that it needs no more of a batch than the smallest and the largest number,
    and is shown an array of both. ``observed() -> Range`` tells the range of all numbers seen, ``clipped(range) -> float`` the share of
    them that is outside of a range, for people. Options called ``bits`` and ``symmetric`` are told how numbers will be stored, where the
    caller does not say it.
    """

    def observe(self, array: Array) -> None:
        """Take a batch into account.

        Args:
            array: float32 or float64 of any shape, with at least one element, all finite. It is not kept.
        """

    def merge(self, other: Self) -> None:
        """Take everything into account that another calibrator of this class and these options has observed."""

    def range(self) -> Range:
        """The range, by what was observed. Asked for only after something was."""

    def state(self) -> dict[str, object]:
        """Everything that it remembers, options included, as what JSON can hold: text, numbers, lists and dictionaries."""

    @classmethod
    def from_state(cls, state: Mapping[str, object]) -> Self:
        """The calibrator that gave a state."""


class Observer(Protocol):
    """Is shown a tensor, batch after batch, and keeps what it needs of it: a range, means of channels, a Gram matrix.

    One with ``extremes_suffice = True`` is shown an array of the smallest and the largest number only.
    """

    def observe(self, array: Array) -> None:
        """Take a batch into account.

        Args:
            array: float32 or float64 of any shape, with at least one element, all finite. It is not kept, and not changed.
        """


class CalibrationSource(Protocol):
    """Data for passes that need some. Injected by the compiler; passes know no runtime and no files.

    Each question runs the model as it is at that moment, so a pass sees what the passes before it have done.
    """

    def observe(self, model: Model, observers: Mapping[str, Observer]) -> int:
        """Run a model on each batch and show tensors to observers; no batch is kept.

        Args:
            model: it is not changed.
            observers: by name of a float tensor of the main graph, inputs and outputs included.

        Returns:
            How many batches there were.

        Raises:
            CalibrationError: if there is no data, a batch does not fit, or a tensor has NaN or plus infinity. An inner tensor that has
                minus infinity, as masks of attention do, is not shown from that batch on.
            ExecutionError: if the model can't be run.
        """

    def ranges(self, model: Model, names: Sequence[str]) -> Mapping[str, Range]:
        """The ranges of float tensors of the main graph, from a calibration table where it has them, from data else.

        Tensors that were empty in each batch or had minus infinity, and names that the model does not have, are left out.

        Raises:
            CalibrationError: as :meth:`observe`, or if there is neither data nor a table that has a tensor.
        """

    def forget(self, name: str) -> None:
        """What a table says of a tensor holds no longer: a pass has changed its numbers."""


@runtime_checkable
class ExtensibleSource(CalibrationSource, Protocol):
    """One whose batches can have further arrays: what a model gave somewhere inside can be the input of what is left of it."""

    def with_arrays(self, more: Callable[[int], Mapping[str, Array]]) -> CalibrationSource:
        """The same batches, each with further arrays.

        Args:
            more: gives them by name, for the number of a batch; the models that are observed have inputs of these names.
        """
