"""Tensors of floats as calibrators take them, and what is said of numbers that are none."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from graphopt.errors import CalibrationError
from graphopt.ir import DType

__all__ = ["FLOATS", "floats_of", "is_masked", "tell_masked"]

logger = logging.getLogger(__name__)

#: Element types that are calibrated.
FLOATS: Final = (DType.FLOAT, DType.FLOAT16, DType.BFLOAT16, DType.DOUBLE)
#: Numbers that are looked at together when one of them is not finite.
_CHUNK: Final = 1 << 20


def floats_of(found: object) -> NDArray[np.floating[Any]] | None:
    """The numbers of a tensor of floats as float32 or float64; ``None`` if there are none, or it is something else."""
    if not isinstance(found, np.ndarray) or found.dtype not in {item.numpy for item in FLOATS} or not found.size:
        return None
    wide = found if found.dtype.itemsize >= np.float32().itemsize else found.astype(np.float32)
    return cast("NDArray[np.floating[Any]]", wide)


def is_masked(name: str, array: NDArray[np.floating[Any]], number: int, what: str) -> bool:
    """Whether minus infinity is among the numbers of an inner tensor, as in masks of attention, and nothing worse.

    Args:
        name: of the tensor.
        array: it.
        number: of the batch, for the message.
        what: ``"input"`` or ``"tensor"``.

    Raises:
        CalibrationError: if there is NaN or plus infinity, or minus infinity in an input.
    """
    bad = nan = above = 0
    flat = array.reshape(-1)
    for start in range(0, flat.size, _CHUNK):
        chunk = flat[start : start + _CHUNK]
        bad += chunk.size - int(np.isfinite(chunk).sum())
        nan += int(np.isnan(chunk).sum())
        above += int(np.isposinf(chunk).sum())
    if bad and (nan or above or what == "input"):
        hint = "clean the data" if what == "input" else "leave this batch out, or look at the inputs that cause it"
        raise CalibrationError(
            f"batch {number}: {what} {name!r} has {'NaN' if nan else 'infinity'} ({bad:,} of {array.size:,} numbers); {hint}"
        )
    return bad > 0


def tell_masked(names: Collection[str]) -> None:
    """Warn that tensors have no range; nothing if there are none."""
    if names:
        first = min(names)
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        logger.warning(
            "tensor %r%s had minus infinity, as masks of attention do, so there is no range; they stay floats",
            first,
            more,
        )
