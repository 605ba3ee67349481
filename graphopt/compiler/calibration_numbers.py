"""Tensors of floats as calibrators take them, and what is said of numbers that are none."""

from __future__ import annotations

from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from graphopt.errors import CalibrationError
from graphopt.ir import DType

__all__ = ["FLOATS", "check_each", "floats_of"]

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


def check_each(name: str, array: NDArray[np.floating[Any]], number: int, what: str) -> None:
    """See that all numbers of a tensor are finite.

    Args:
        name: of the tensor.
        array: it.
        number: of the batch, for the message.
        what: ``"input"`` or ``"tensor"``.

    Raises:
        CalibrationError: if they are not.
    """
    bad, nan = 0, False
    flat = array.reshape(-1)
    for start in range(0, flat.size, _CHUNK):
        chunk = flat[start : start + _CHUNK]
        bad += chunk.size - int(np.isfinite(chunk).sum())
        nan = nan or bool(np.isnan(chunk).any())
    if bad:
        hint = "clean the data" if what == "input" else "leave this batch out, or look at the inputs that cause it"
        raise CalibrationError(
            f"batch {number}: {what} {name!r} has {'NaN' if nan else 'infinity'} ({bad:,} of {array.size:,} numbers); {hint}"
        )
