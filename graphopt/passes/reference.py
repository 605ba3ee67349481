"""The model as it was before a pass took something away, and what is left of its tensors: what recovery aims at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from graphopt.ir import Array, Model

__all__ = ["Reference"]

_Mask = npt.NDArray[np.bool_]


@dataclass(slots=True)
class Reference:
    """A model before something was removed.

    Attributes:
        model: a copy; it is not changed.
        kept: which indices of its axes are left in the tensor of the same name, by name and axis; axes that kept all are not there.
    """

    model: Model
    kept: dict[str, dict[int, _Mask]] = field(default_factory=dict)

    def note(self, name: str, masks: Mapping[int, _Mask]) -> None:
        """Note that of a tensor, as it is now, only some indices are left."""
        present = self.kept.setdefault(name, {})
        for axis, mask in masks.items():
            before = present.get(axis)
            if before is None:
                present[axis] = mask.copy()
            else:
                before[np.flatnonzero(before)[~mask]] = False

    def left(self, name: str, array: Array) -> Array:
        """What is left of an array of the reference.

        Example:
            >>> from graphopt.ir import Graph, Model
            >>> reference = Reference(Model(Graph("g"), {"": 21}))
            >>> reference.note("x", {0: np.array([True, False, True])})
            >>> reference.note("x", {0: np.array([False, True])})
            >>> reference.left("x", np.array([1.0, 2.0, 3.0])).tolist()
            [3.0]
        """
        for axis, mask in self.kept.get(name, {}).items():
            array = np.compress(mask, array, axis)
        return array
