"""Makes numbers of weights and inputs simple: all zero, all one, or small integers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final

import numpy as np

from graphopt.ir import Array, Constant, DType
from graphopt.runtime.base import Datum
from graphopt.verify.reduction.case import Case
from graphopt.verify.reduction.chunks import simplify
from graphopt.verify.reduction.search import Search

__all__ = ["SimplifyInputs", "SimplifyWeights"]

#: Integer constants of at most this many elements may be shapes or axes, not weights.
_SHAPE_ELEMENTS: Final = 16
_SMALL: Final = 2.0
_COUNTED: Final = 5


def _zeros(array: Array) -> Array:
    return np.zeros(array.shape, array.dtype)


def _ones(array: Array) -> Array:
    return np.ones(array.shape, array.dtype)


def _rounded(array: Array) -> Array:
    """Integers from -2 to 2 that are near."""
    wide = np.nan_to_num(array.astype(np.float64))
    low = 0.0 if np.dtype(array.dtype).kind == "u" else -_SMALL
    return np.clip(np.rint(wide), low, _SMALL).astype(array.dtype)


def _counted(array: Array) -> Array:
    """1, 2, 3 and so on, over again after 5: simple, and neighbours differ."""
    return (np.arange(array.size) % _COUNTED + 1).reshape(array.shape).astype(array.dtype)


#: What numbers may become, the simplest first.
_FORMS: Final[tuple[Callable[[Array], Array], ...]] = (_zeros, _ones, _rounded, _counted)


def _level(array: Array) -> int:
    """How simple numbers are: an index into the forms, their number when they have none of them."""
    for level, form in enumerate(_FORMS):
        made = form(array)
        if np.array_equal(made, array):
            return level
    return len(_FORMS)


def _is_number(array: Array) -> bool:
    """Whether an array has numbers that another form may be tried for."""
    if array.dtype == object or not array.size:
        return False
    try:
        dtype = DType.from_numpy(array.dtype)
    except ValueError:
        return False
    return (dtype.is_float or dtype.is_integer) and dtype.bits >= 8


@dataclass(frozen=True)
class SimplifyWeights:
    """Make weights zeros, ones or small integers."""

    name: ClassVar[str] = "simplify weights"

    def shrink(self, search: Search) -> None:
        """Each form for all weights at once, or else for smaller groups of them."""
        for level, form in enumerate(_FORMS):
            simplify(_weights_above(search.case, level), partial(_try_weights, search, form))


def _try_weights(search: Search, form: Callable[[Array], Array], names: list[str]) -> bool:
    return search.attempt(_weighed(search.case, names, form))


def _weights_above(case: Case, level: int) -> list[str]:
    found = []
    for value in case.model.graph.initializers():
        constant = value.const
        if constant is None or constant.is_sparse or value.is_input:
            continue
        if constant.dtype.is_integer and constant.ndim < 2 and constant.size <= _SHAPE_ELEMENTS:
            continue
        array = constant.numpy()
        if _is_number(array) and _level(array) > level:
            found.append(value.name)
    return found


def _weighed(case: Case, names: list[str], form: Callable[[Array], Array]) -> Case:
    candidate = case.copy()
    wanted = set(names)
    for value in candidate.model.graph.initializers():
        if value.name in wanted and value.const is not None:
            value.const = Constant(form(value.const.numpy()))
    return candidate


@dataclass(frozen=True)
class SimplifyInputs:
    """Make the numbers of inputs zeros, ones or small integers."""

    name: ClassVar[str] = "simplify inputs"

    def shrink(self, search: Search) -> None:
        """Each form for all inputs at once, or else for smaller groups of them."""
        for level, form in enumerate(_FORMS):
            simplify(_inputs_above(search.case, level), partial(_try_inputs, search, form))


def _try_inputs(search: Search, form: Callable[[Array], Array], places: list[tuple[int, str]]) -> bool:
    return search.attempt(_fed(search.case, places, form))


def _inputs_above(case: Case, level: int) -> list[tuple[int, str]]:
    return [
        (index, name)
        for index, feeds in enumerate(case.samples)
        for name, data in feeds.items()
        if isinstance(data, np.ndarray) and _is_number(data) and _level(data) > level
    ]


def _fed(case: Case, places: list[tuple[int, str]], form: Callable[[Array], Array]) -> Case:
    samples: list[dict[str, Datum]] = [dict(feeds) for feeds in case.samples]
    for index, name in places:
        data = samples[index][name]
        if isinstance(data, np.ndarray):
            samples[index][name] = form(data)
    return case.copy().with_samples(tuple(samples))
