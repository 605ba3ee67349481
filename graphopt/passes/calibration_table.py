"""The ranges of a model's tensors, found by calibration, in memory and as a JSON file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from graphopt.errors import CalibrationError
from graphopt.ir import Model, structural_hash
from graphopt.passes.calibration import Range
from graphopt.passes.json_files import not_understood, read_json_file, write_json_file

__all__ = ["CalibrationTable"]

_FORMAT: Final = 1
_ADVICE: Final = "calibrate the model again"


class _Tensor(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    low: float
    high: float
    state: dict[str, Any]
    observed: tuple[float, float] | None = None
    clipped: float | None = None


class _Document(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The file: as the table, with one entry for each tensor."""

    format: int
    calibrator: str
    options: dict[str, Any]
    model: str
    batches: int
    tensors: dict[str, _Tensor]
    prepare: str = ""
    masked: list[str] = []


@dataclass(frozen=True)
class CalibrationTable:
    """Ranges of the float tensors of one model.

    Attributes:
        calibrator: name of what found them.
        options: its options, where they were not the defaults.
        model: SHA-256 of the model's structure, names and weights, as hexadecimal digits.
        batches: how many were observed.
        ranges: by name of the tensor.
        states: what the calibrators remember, by name of the tensor, to go on from or to merge.
        prepare: text of the pipeline that the model went through before, ``""`` for none. Its tensors are those of the result; ``model``
            is the model before it.
        observed: from the smallest to the largest number of a tensor, where the calibrator says that.
        clipped: share of the numbers of a tensor that are outside of its range, where the calibrator says that.
        masked: names of tensors that had minus infinity, as masks of attention do, in ascending order; they have no range.

    Example:
        >>> table = CalibrationTable("min-max", {}, "0f", 2, {"x": Range(0.0, 6.0)}, {"x": {"low": 0.0, "high": 6.0}})
        >>> table["x"].high
        6.0
    """

    calibrator: str
    options: Mapping[str, object]
    model: str
    batches: int
    ranges: Mapping[str, Range]
    states: Mapping[str, Mapping[str, object]] = field(repr=False)
    prepare: str = ""
    observed: Mapping[str, Range] = field(default_factory=dict, repr=False)
    clipped: Mapping[str, float] = field(default_factory=dict, repr=False)
    masked: Sequence[str] = ()

    def __getitem__(self, name: str) -> Range:
        """The range of a tensor.

        Raises:
            CalibrationError: if the table does not have it.
        """
        if name not in self.ranges:
            raise CalibrationError(f"the calibration table has no tensor {name!r}; calibrate the model again")
        return self.ranges[name]

    @staticmethod
    def fingerprint(model: Model) -> str:
        """What ``model`` is for a model; reads all weights once."""
        return structural_hash(model, names=True).hex()

    def check_model(self, model: Model) -> None:
        """See that the table is one of a model.

        Raises:
            CalibrationError: if it is not.
        """
        found = self.fingerprint(model)
        if found != self.model:
            raise CalibrationError(
                f"the calibration table is of a model with fingerprint {self.model:.12}, this one has {found:.12}; calibrate it"
            )

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the table as JSON, which ends up there whole or not at all; returns the path.

        Args:
            path: the file.
            force: whether a file that is there may be replaced.

        Raises:
            OutputError: if it exists, or can't be written.
        """
        tensors = {name: self._tensor(name, found) for name, found in sorted(self.ranges.items())}
        document = _Document(
            _FORMAT,
            self.calibrator,
            dict(self.options),
            self.model,
            self.batches,
            tensors,
            self.prepare,
            list(self.masked),
        )
        return write_json_file(path, document, force=force)

    def _tensor(self, name: str, found: Range) -> _Tensor:
        seen = self.observed.get(name)
        ends = None if seen is None else (seen.low, seen.high)
        return _Tensor(found.low, found.high, dict(self.states[name]), ends, self.clipped.get(name))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CalibrationTable:
        """Read a table that :meth:`save` wrote, edited by hand perhaps.

        Raises:
            CalibrationError: if the file can't be read, or is no calibration table.
        """
        where = f"calibration table {os.fspath(path)!r}"
        document = read_json_file(path, _Document, where, CalibrationError, _ADVICE)
        if document.format != _FORMAT:
            raise CalibrationError(f"{where} has format {document.format}, expected {_FORMAT}; update graphopt")
        try:
            ranges = {name: _range(name, item.low, item.high) for name, item in document.tensors.items()}
            observed = {
                name: _range(name, *item.observed)
                for name, item in document.tensors.items()
                if item.observed is not None
            }
        except ValueError as err:
            raise CalibrationError(not_understood(where, err, _ADVICE)) from err
        states = {name: item.state for name, item in document.tensors.items()}
        clipped = {name: item.clipped for name, item in document.tensors.items() if item.clipped is not None}
        return cls(
            document.calibrator,
            document.options,
            document.model,
            document.batches,
            ranges,
            states,
            document.prepare,
            observed,
            clipped,
            tuple(document.masked),
        )


def _range(name: str, low: float, high: float) -> Range:
    try:
        return Range(low, high)
    except ValueError as err:
        raise ValueError(f"tensor {name!r}: {err}") from err
