"""Sizes that an engine is built for, from data: smallest, middle and largest of what the inputs were fed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from graphopt.backends.tensorrt.profiles import InputRange, Profile
from graphopt.errors import CalibrationError
from graphopt.ir import Array
from graphopt.runtime.base import Datum, ValueSpec
from graphopt.verify.user_inputs import load_inputs

__all__ = ["profile_from_data", "profile_from_feeds"]

#: An input of more numbers than axes that a tensor can have is no shape.
_MOST_VALUES: Final = 8


def profile_from_data(path: Path, inputs: Sequence[ValueSpec]) -> Profile:
    """The profile of what files hold.

    Args:
        path: an ``.npz`` file with an array for each input, as they are fed, or a folder of such files.
        inputs: of the model.

    Raises:
        CalibrationError: if there is no such file in the folder.
        ExecutionError: if a file can't be read, or does not fit the model.
    """
    files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
    if not files:
        raise CalibrationError(
            f"the folder {str(path)!r} has no .npz file to see sizes in; name files so, or the right folder"
        )
    return profile_from_feeds([load_inputs(file, inputs) for file in files])


def profile_from_feeds(feeds: Sequence[Mapping[str, Datum]]) -> Profile:
    """The profile of some feeds; the usual size is the median of those seen, each axis by itself.

    Example:
        >>> made = profile_from_feeds([{"x": np.zeros((1, size))} for size in (16, 700, 32)])
        >>> str(made.shapes["x"])
        '1x16,1x32,1x700'
    """
    arrays: dict[str, list[Array]] = {}
    for feed in feeds:
        for name, value in feed.items():
            if isinstance(value, np.ndarray):
                arrays.setdefault(name, []).append(value)
    shapes = {name: _range([item.shape for item in seen]) for name, seen in arrays.items()}
    values = {
        name: _range([tuple(item.reshape(-1).tolist()) for item in seen])
        for name, seen in arrays.items()
        if seen[0].dtype.kind in "iu" and seen[0].ndim < 2 and all(0 < item.size <= _MOST_VALUES for item in seen)
    }
    return Profile(
        {name: item for name, item in shapes.items() if item is not None},
        {name: item for name, item in values.items() if item is not None},
        is_seen=True,
    )


def _range(seen: Sequence[tuple[int, ...]]) -> InputRange | None:
    """Smallest, middle and largest number at each place; ``None`` when there are not always as many."""
    if len({len(item) for item in seen}) != 1:
        return None
    columns = [sorted(column) for column in zip(*seen, strict=True)]
    return InputRange(
        tuple(column[0] for column in columns),
        tuple(column[(len(column) - 1) // 2] for column in columns),
        tuple(column[-1] for column in columns),
    )
