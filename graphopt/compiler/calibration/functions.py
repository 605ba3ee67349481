"""Data from functions and iterables: batches that come ready-made."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from graphopt.errors import CalibrationError
from graphopt.runtime.base import Feeds, ValueSpec

__all__ = ["imported", "only_input", "ready_batches"]


def ready_batches(batches: Iterable[object], inputs: Sequence[ValueSpec], where: str) -> Iterator[Feeds]:
    """Batches as they come; a bare array is for the only input."""
    for batch in batches:
        if isinstance(batch, np.ndarray):
            yield {only_input(inputs, where): batch}
        else:
            yield cast("Feeds", batch)  # anything else is refused where it is used, with its number


def guarded(function: Callable[[], object], where: str) -> Iterator[object]:
    """What a function gives, one after the other.

    Raises:
        CalibrationError: if it fails, at once or later, or gives nothing that batches can be taken from.
    """
    number = 0
    try:
        found = function()
        if not isinstance(found, Iterable) or isinstance(found, Mapping | str | bytes):
            raise CalibrationError(f"{where}: it gave a {type(found).__name__}, expected an iterable of batches")
        for batch in found:
            number += 1
            yield batch
    except CalibrationError:
        raise
    except Exception as err:
        raise CalibrationError(f"{where}: it failed after {number} batches: {type(err).__name__}: {err}") from err


def only_input(inputs: Sequence[ValueSpec], where: str) -> str:
    """The name of the only input.

    Raises:
        CalibrationError: if there are several.
    """
    if len(inputs) != 1:
        names = ", ".join(repr(spec.name) for spec in inputs) or "none"
        raise CalibrationError(f"{where} is one array, and the model has the inputs {names}; give arrays by name")
    return inputs[0].name


def imported(place: str, what: str, expected: str, *, failed: str = "can't be imported") -> Callable[..., object]:
    """The function that ``module:function`` names; modules in the working folder are found too.

    Args:
        place: it.
        what: what it is for, in messages.
        expected: what kind of function it has to be, in messages.
        failed: what is said where it can't be imported.

    Raises:
        CalibrationError: if there is none.
    """
    module, _, attribute = place.partition(":")
    here = str(Path.cwd())
    added = here not in sys.path
    if added:  # a script beside the data, as `python -m` would find it
        sys.path.insert(0, here)
    try:
        found: object = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as err:
        raise CalibrationError(f"{what} {failed}: {type(err).__name__}: {err}") from err
    finally:
        if added and here in sys.path:
            sys.path.remove(here)
    if not callable(found):
        raise CalibrationError(f"{what} is {found!r:.80}, expected a function {expected}")
    return cast("Callable[..., object]", found)
