"""How far two outputs may be apart: what a pipeline declares, in units that fit the element type.

* **Exact** means the same bits, NaN payloads apart. A runtime may pick another kernel for a node whose surroundings changed, so
  floating-point differences of a few units in the last place *of the largest element nearby* pass too, and the verdict says "not
  bit-exact". A wrong rewrite does not stay within the last three of 24 bits. Where only signs of zeros differ, that is an error: it is
  what a careless ``x + 0 -> x`` does.
* **Reassociates(rtol)** allows ``rtol`` times the largest magnitude near an element: the smaller of the largest in its slice along axis 1
  and along the last axis, so that small scores beside large boxes are held to their own size. ``rtol`` is meant for float32; other types
  get the same number of units in the last place, but only a few of the types whose units are coarse.
* **Noise.** A check that sees more than a sixteenth of that asks the original how much its outputs move by themselves when only rounding
  changes, see :mod:`graphopt.verify.perturbation`, for rounding is all that re-association changes. A difference within ``rtol`` that is
  sixteen times the movement fails: a wrong epsilon is of that size. A difference beyond ``rtol`` passes when it is within four times the
  movement, both of the worst element and of the root mean square: a quantized graph turns a last-bit change before a quantize step into
  a whole step after it, and an argmax flips between near ties, so a few steps pass where the original steps a few times itself, and a
  shift of everything does not. An output that moves by a quarter of its size or more is called unstable, and passing by that is no pass
  but "inconclusive".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

import ml_dtypes
import numpy as np
import numpy.typing as npt

from graphopt.ir import Array, DType
from graphopt.numerics import Exact, Lossy, Numerics, Reassociates

__all__ = [
    "DOUBT_FACTOR",
    "NOISE_FACTOR",
    "UNSTABLE",
    "Noise",
    "doubt_tolerance",
    "kind_of",
    "relative_tolerance",
    "widen",
]

#: How many times the movement of the original is allowed.
NOISE_FACTOR: Final = 4.0
#: How many times the movement is too much even within the declared tolerance, and what fraction of that tolerance is beyond doubt.
DOUBT_FACTOR: Final = 16.0
#: An output that moves by this fraction of its largest element tells nothing.
UNSTABLE: Final = 0.25

_EPS32: Final = float(np.finfo(np.float32).eps)
#: Units in the last place that are allowed at most, by digits of the mantissa at least.
_MOST_ULPS: Final = ((16, float("inf")), (10, 8.0), (7, 4.0), (0, 1.0))
_LEAST_ULPS: Final = 4.0
_LEAST_DOUBT_ULPS: Final = 2.0
#: By how many kernels of one operator may differ.
_KERNEL_ULPS: Final = ((16, 8.0), (10, 1.0), (0, 0.0))


def kind_of(dtype: np.dtype[np.generic]) -> Literal["text", "integer", "float", "complex"]:
    """How elements of a type are compared; bool counts as integer."""
    if dtype.kind in "OSUT":
        return "text"
    if dtype.kind == "c":
        return "complex"
    return "float" if DType.from_numpy(dtype).is_float else "integer"


def widen(array: Array) -> npt.NDArray[np.float64]:
    """Numbers as float64; a complex array gets a last axis of two."""
    if array.dtype.kind == "c":
        wide = np.ascontiguousarray(array.astype(np.complex128))
        return wide.reshape(*array.shape, 1).view(np.float64)
    return array.astype(np.float64)


def relative_tolerance(numerics: Numerics, dtype: np.dtype[np.generic]) -> float:
    """The allowed difference as a fraction of the magnitude nearby; infinite for lossy pipelines, 0 for integers and texts.

    Args:
        numerics: what the pipeline declares.
        dtype: element type of the output.

    Example:
        >>> relative_tolerance(Exact(), np.dtype(np.int64)), relative_tolerance(Lossy(), np.dtype(np.float32))
        (0.0, inf)
    """
    if isinstance(numerics, Lossy):
        return float("inf")
    if kind_of(dtype) in ("integer", "text"):
        return 0.0
    eps, digits = _precision(dtype)
    if isinstance(numerics, Exact):
        return _by_digits(_KERNEL_ULPS, digits) * eps
    return min(max(numerics.rtol / _EPS32, _LEAST_ULPS), _by_digits(_MOST_ULPS, digits)) * eps


def doubt_tolerance(numerics: Numerics, dtype: np.dtype[np.generic]) -> float:
    """The difference, as a fraction of the magnitude nearby, beyond which a check asks the original how much it moves by itself."""
    tolerance = relative_tolerance(numerics, dtype)
    if not isinstance(numerics, Reassociates) or not tolerance:
        return tolerance
    return min(tolerance, max(tolerance / DOUBT_FACTOR, _LEAST_DOUBT_ULPS * _precision(dtype)[0]))


def _precision(dtype: np.dtype[np.generic]) -> tuple[float, int]:
    """Distance from 1 to the next number, and digits of the mantissa; for a complex type those of its parts."""
    real = dtype if dtype.kind != "c" else np.float32 if dtype.itemsize == 8 else np.float64
    info = ml_dtypes.finfo(real)  # type: ignore[no-untyped-call]  # ml_dtypes ships no types
    return float(info.eps), int(info.nmant)


def _by_digits(table: tuple[tuple[int, float], ...], digits: int) -> float:
    return next(ulps for least, ulps in table if digits >= least)


@dataclass(frozen=True, slots=True)
class Noise:
    """How much an output of the original moves when nothing of importance changes.

    Attributes:
        largest: largest movement of an element.
        rms: root mean square of the movement.
        flipped: fraction of the elements that move at all.
        shape_changes: whether its shape, or the positions of NaN and infinity, change too.
    """

    largest: float = 0.0
    rms: float = 0.0
    flipped: float = 0.0
    shape_changes: bool = False

    @classmethod
    def of(cls, expected: Array, moved: Array) -> Noise:
        """The movement between two runs of an output."""
        if expected.shape != moved.shape or expected.dtype != moved.dtype:
            return cls(shape_changes=True)
        if not expected.size:
            return cls()
        if kind_of(expected.dtype) == "text":
            return cls(flipped=float(np.mean(expected != moved)))
        with np.errstate(all="ignore"):
            a, b = widen(expected), widen(moved)
            finite = np.isfinite(a)
            changes = bool(np.any(finite != np.isfinite(b)))
            change = np.abs(a - b)[finite & np.isfinite(b)]
        if not change.size:
            return cls(shape_changes=changes)
        flipped = float(np.mean(change > 0))
        return cls(float(change.max()), float(np.sqrt(np.mean(change**2))), flipped, shape_changes=changes)

    @classmethod
    def most(cls, several: Iterable[Noise]) -> Noise:
        """The largest of several movements."""
        found = list(several)
        return cls(
            max((item.largest for item in found), default=0.0),
            max((item.rms for item in found), default=0.0),
            max((item.flipped for item in found), default=0.0),
            shape_changes=any(item.shape_changes for item in found),
        )

    def scaled(self, factor: float) -> Noise:
        """The same movement of an output whose numbers are ``factor`` times as large."""
        return Noise(self.largest * factor, self.rms * factor, self.flipped, self.shape_changes)
