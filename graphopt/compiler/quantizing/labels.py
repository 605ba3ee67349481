"""What is right for each example: read from a file, held to the data, and cut into batches."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from graphopt.errors import CalibrationError
from graphopt.ir import Array
from graphopt.runtime.base import Feeds

__all__ = ["Labels", "class_axis", "examples_in", "read_labels"]

_NAMES: Final = ("labels", "label", "y", "targets", "target")


def read_labels(source: object) -> Array:
    """Labels as an array, one entry along the first axis for each example.

    Args:
        source: an array or a list; the path of a ``.npy`` file, or of an ``.npz`` file with one array or one that is called ``labels``,
            ``label``, ``y``, ``targets`` or ``target``; after ``#`` in a path any other name, ``data.npz#digits``.

    Raises:
        CalibrationError: if they can't be read, are empty or not numbers.
    """
    if not isinstance(source, str | os.PathLike):
        return _checked(np.asarray(source), "the labels")
    path, _, wanted = os.fspath(source).partition("#") if not os.path.exists(source) else (os.fspath(source), "", "")
    where = f"labels {path!r}"
    try:
        with open(path, "rb") as file:
            found = np.load(file, allow_pickle=False)
            if isinstance(found, np.lib.npyio.NpzFile):
                with found:
                    found = found[_member(found.files, wanted, where)]
    except CalibrationError:
        raise
    except OSError as err:
        raise CalibrationError(f"{where} cannot be read: {err.strerror or err}; check the path") from err
    except Exception as err:  # whatever a damaged file makes numpy raise
        said = " ".join(str(err).split())[:200]
        raise CalibrationError(f"{where} cannot be read: {said}; expected .npy or .npz as numpy saves it") from err
    return _checked(found, where)


def _member(names: list[str], wanted: str, where: str) -> str:
    if wanted:
        if wanted not in names:
            raise CalibrationError(f"{where} has no array {wanted!r}; it has: {', '.join(names) or 'none'}")
        return wanted
    known = [name for name in _NAMES if name in names]
    if len(names) != 1 and not known:
        raise CalibrationError(
            f"{where} has the arrays {', '.join(names) or '(none)'}; call one of them labels, or say which: FILE.npz#NAME"
        )
    return known[0] if known else names[0]


def _checked(labels: Array, where: str) -> Array:
    if labels.dtype.kind not in "biuf":
        raise CalibrationError(f"{where} are of type {labels.dtype}, expected numbers")
    if not labels.ndim or not len(labels):
        raise CalibrationError(f"{where} are empty, expected one for each example")
    return labels


def class_axis(scores: Array, labels: Array | None) -> int:
    """The axis of scores along which classes are: what labels lack, else the last one (of [N, C, H, W] the second).

    Args:
        scores: output of a classifier or a segmenter.
        labels: of the same examples; class numbers, or one score for each class.

    Raises:
        CalibrationError: if shapes do not fit.

    Example:
        >>> class_axis(np.zeros((2, 10)), np.array([3, 4])), class_axis(np.zeros((2, 5, 8, 8)), np.zeros((2, 8, 8)))
        (1, 1)
    """
    by_default = 1 if scores.ndim == 4 else scores.ndim - 1
    if labels is None or labels.shape == scores.shape:
        return by_default
    shape = tuple(size for size in labels.shape)
    if labels.ndim == scores.ndim and 1 in shape[1:]:  # [N, 1]
        shape = (shape[0], *(size for size in shape[1:] if size != 1))
    for axis in dict.fromkeys((by_default, scores.ndim - 1, 1)):
        if 0 < axis < scores.ndim and (*scores.shape[:axis], *scores.shape[axis + 1 :]) == shape:
            return axis
    raise CalibrationError(
        f"labels have shape {list(labels.shape)} for a batch, the output has {list(scores.shape)}; expected a class number "
        "for each row of scores, or scores themselves"
    )


class Labels:
    """Labels handed out batch by batch.

    Args:
        labels: one for each example, in the order of the data; ``None`` for none.
    """

    def __init__(self, labels: Array | None) -> None:
        self._labels = labels

    def batches(self, batches: Iterator[Feeds]) -> Iterator[tuple[Feeds, Array | None]]:
        """Batches with their labels.

        Raises:
            CalibrationError: if there are more or fewer labels than examples.
        """
        at = 0
        for feeds in batches:
            if self._labels is None:
                yield feeds, None
                continue
            size = examples_in(feeds)
            found = self._labels[at : at + size]
            if len(found) < size:
                raise CalibrationError(
                    f"there are {len(self._labels):,} labels, and at least {at + size:,} examples; bring one label for each"
                )
            at += size
            yield feeds, found
        if self._labels is not None and at != len(self._labels):
            raise CalibrationError(
                f"there are {len(self._labels):,} labels, and {at:,} examples; bring one label for each"
            )


def examples_in(feeds: Mapping[str, object]) -> int:
    """How many examples a batch has: the first axis of its first array that has axes."""
    for value in feeds.values():
        shape = getattr(value, "shape", ())
        if shape:
            return int(shape[0])
    return 1
