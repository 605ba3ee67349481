"""What to take away from a model, as a JSON file: it can be looked at, edited, and done again on the model, with other weights too."""

from __future__ import annotations

import fnmatch
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from graphopt.errors import PruningError
from graphopt.passes.json_files import not_understood, read_json_file, write_json_file
from graphopt.passes.packed_mask import PackedMask, mask_of_ranges, ranges_of_mask

__all__ = ["AxisPlan", "PruningPlan"]

_FORMAT: Final = 1
_ADVICE: Final = "record the plan again"
_Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class AxisPlan:
    """Which indices are left of axes that go together.

    Attributes:
        groups: names of the groups whose indices these are, for people.
        kept: bool [size before], at least one of them true.
        weights: the axes, by name of the weight.
    """

    groups: tuple[str, ...]
    kept: _Mask
    weights: Mapping[str, tuple[int, ...]]

    def places(self) -> Iterator[tuple[str, int]]:
        """Each weight with each of its axes."""
        for name, axes in self.weights.items():
            for axis in axes:
                yield name, axis


class _Axis(msgspec.Struct, forbid_unknown_fields=True):
    groups: list[str]
    size: int
    kept: str
    weights: dict[str, list[int]]


class _MaskedWeight(msgspec.Struct, forbid_unknown_fields=True):
    shape: list[int]
    zeros: int
    kept: str


class _Sign(msgspec.Struct):
    """What only plans have."""

    axes: msgspec.Raw
    masks: msgspec.Raw


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    """The file."""

    format: int
    graphopt: str
    model: str
    source: str
    prepare: str
    steps: list[str]
    axes: list[_Axis]
    masks: dict[str, _MaskedWeight]


@dataclass(frozen=True)
class PruningPlan:
    """What is taken away from a model.

    Attributes:
        model: digest of the structure of the model that it is for, whatever its weights hold.
        axes: indices that go for good. Axes that go together may stand apart, but must not contradict each other.
        masks: elements that become zero, by weight, once the indices are gone.
        prepare: text of the pipeline that the model goes through before, ``""`` for none.
        source: digest of the structure of the model before that.
        steps: texts of the passes that chose, in order.
        version: of graphopt when it was recorded.

    Example:
        >>> axis = AxisPlan(("w",), np.array([True, False, True]), {"w": (1,), "v": (0,)})
        >>> plan = PruningPlan("0f", [axis], {"v": PackedMask.of(np.array([[True, False], [False, True]]))})
        >>> print(plan.summary())
        w: 2 of 3 kept, in w axis 1, v axis 0
        v: 2 of 4 zero
        >>> plan.without(["w"]).axes
        ()
    """

    model: str
    axes: Sequence[AxisPlan] = ()
    masks: Mapping[str, PackedMask] = field(default_factory=dict)
    prepare: str = ""
    source: str = ""
    steps: Sequence[str] = ()
    version: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is taken away."""
        return not self.axes and not self.masks

    def kept(self, weight: str) -> dict[int, _Mask]:
        """By axis, which indices are left of a weight; axes that keep all are not there."""
        return {axis: item.kept for item in self.axes for name, axis in item.places() if name == weight}

    def without(self, patterns: Sequence[str]) -> PruningPlan:
        """A plan that leaves groups and masks alone, by names of groups or weights, with ``*`` and ``?``.

        A mask whose weight is of another shape then is left out too: it was chosen for what is left.
        """

        def is_named(names: Sequence[str]) -> bool:
            return any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in patterns)

        named = [is_named((*item.groups, *item.weights)) for item in self.axes]
        axes = tuple(item for item, leaves in zip(self.axes, named, strict=True) if not leaves)
        gone = {name for item, leaves in zip(self.axes, named, strict=True) if leaves for name in item.weights}
        masks = {name: mask for name, mask in self.masks.items() if name not in gone and not is_named([name])}
        return replace(self, axes=axes, masks=masks)

    def summary(self) -> str:
        """What goes, in a line for each class of indices and each masked weight."""
        lines = []
        for item in self.axes:
            where = ", ".join(f"{name} axis {axis}" for name, axis in item.places())
            names = ", ".join(item.groups)
            lines.append(f"{names}: {np.count_nonzero(item.kept)} of {item.kept.size} kept, in {where}")
        lines += [f"{name}: {mask.zeros} of {mask.size} zero" for name, mask in self.masks.items()]
        return "\n".join(lines)

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the plan as JSON, which ends up there whole or not at all; returns the path.

        Args:
            path: the file.
            force: whether a file that is there may be replaced.

        Raises:
            OutputError: if it exists, or can't be written.
        """
        axes = [
            _Axis(
                list(item.groups),
                item.kept.size,
                ranges_of_mask(item.kept),
                {name: list(axes) for name, axes in item.weights.items()},
            )
            for item in self.axes
        ]
        masks = {
            name: _MaskedWeight(list(mask.shape), mask.zeros, mask.to_text())
            for name, mask in sorted(self.masks.items())
        }
        document = _Document(
            _FORMAT, self.version, self.model, self.source, self.prepare, list(self.steps), axes, masks
        )
        return write_json_file(path, document, force=force)

    @staticmethod
    def is_in(path: str | os.PathLike[str]) -> bool:
        """Whether a file looks like a plan: :meth:`load` says what is wrong with one."""
        try:
            if not os.path.isfile(path):
                return False
            msgspec.json.decode(Path(path).read_bytes(), type=_Sign)
        except (OSError, ValueError, RecursionError):
            return False
        return True

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> PruningPlan:
        """Read a plan that :meth:`save` wrote, edited by hand perhaps.

        Raises:
            PruningError: if the file can't be read, is no plan, or contradicts itself.
        """
        where = f"pruning plan {os.fspath(path)!r}"
        document = read_json_file(path, _Document, where, PruningError, _ADVICE)
        if document.format != _FORMAT:
            raise PruningError(f"{where} has format {document.format}, expected {_FORMAT}; update graphopt")
        try:
            axes = tuple(_axis_plan(item) for item in document.axes)
            places = Counter(place for item in axes for place in item.places())
            for name, axis in (place for place, count in places.items() if count > 1):
                raise ValueError(f"weight {name!r} has axis {axis} twice")
            masks = {
                name: PackedMask.from_text(tuple(item.shape), item.zeros, item.kept)
                for name, item in document.masks.items()
            }
        except ValueError as err:
            raise PruningError(not_understood(where, err, "mend what was edited, or record the plan again")) from err
        return cls(
            document.model,
            axes,
            masks,
            document.prepare,
            document.source,
            tuple(document.steps),
            document.graphopt,
        )


def _axis_plan(item: _Axis) -> AxisPlan:
    name = ", ".join(item.groups) or ", ".join(item.weights)
    if not item.weights or any(axis < 0 for axes in item.weights.values() for axis in axes):
        raise ValueError(f"group {name!r} has no weight, or an axis before the first")
    try:
        kept = mask_of_ranges(item.kept, item.size)
    except ValueError as err:
        raise ValueError(f"group {name!r}: {err}") from err
    return AxisPlan(tuple(item.groups), kept, {weight: tuple(axes) for weight, axes in item.weights.items()})
