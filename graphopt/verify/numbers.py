"""The arithmetic of comparing two numeric tensors of one type and shape."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from graphopt.ir import Array, DType
from graphopt.verify.tolerance import kind_of, widen

__all__ = ["Deviation", "deviation", "element_distance"]

_Floats = npt.NDArray[np.float64]
#: Slices with fewer elements say too little about the magnitude to expect.
_FEW: Final = 64


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far one tensor is from another.

    Attributes:
        size: elements (parts of complex numbers count each).
        compared: of them, those that are finite in both.
        changed: of these, those that differ.
        special: elements that are NaN on one side only, or an infinity that is not the same on both.
        bits_differ: whether anything but NaN payloads differs, signs of zeros included.
        max_abs: largest difference.
        max_rel: that over ``largest``.
        largest: largest finite magnitude of the original.
        rms: root mean square of the difference.
        excess: the difference over what is allowed, at the worst element.
        allowed: what is allowed for the largest element.
        worst: index of the worst element.
        cosine: of the angle between the finite elements, ``None`` when there are none.
        exceeding: largest difference among the elements that differ by more than is allowed.
    """

    size: int
    compared: int
    changed: int = 0
    special: int = 0
    bits_differ: bool = False
    max_abs: float = 0.0
    max_rel: float = 0.0
    largest: float = 0.0
    rms: float = 0.0
    excess: float = 0.0
    allowed: float = 0.0
    worst: tuple[int, ...] = ()
    cosine: float | None = 1.0
    exceeding: float = 0.0

    @property
    def identical(self) -> bool:
        """Whether every bit is the same, NaN payloads apart."""
        return not self.bits_differ


def deviation(a: Array, b: Array, rtol: float) -> Deviation:
    """How far ``b`` is from ``a``.

    Args:
        a: the original.
        b: of the same shape and element type.
        rtol: allowed difference as a fraction of the magnitude nearby (see :mod:`graphopt.verify.tolerance`), infinite for any.
    """
    if np.array_equal(_raw(a), _raw(b)):
        return Deviation(a.size, _finite_count(a))
    with np.errstate(all="ignore"):
        x, y = widen(a), widen(b)
        finite = np.isfinite(x) & np.isfinite(y)
        special = ~finite & ~(np.isnan(x) & np.isnan(y)) & (x != y)
        change: _Floats = np.where(finite, np.abs(x - y), 0.0)
        if kind_of(a.dtype) == "integer":  # beyond 2**53 the difference of two numbers may round to 0
            change = np.where(a != b, np.maximum(change, 1.0), 0.0)
        allowed = _allowed(np.where(finite, np.abs(x), 0.0), rtol, a)
        ratio = np.divide(change, allowed, out=np.where(change > 0, math.inf, 0.0), where=allowed > 0)
    largest = float(np.max(np.abs(x), where=finite, initial=0.0))
    max_abs = float(change.max(initial=0.0))
    pick = special if special.any() else ratio if math.isfinite(rtol) else change
    worst = tuple(int(axis) for axis in np.unravel_index(int(np.argmax(pick)), pick.shape))
    return Deviation(
        size=x.size,
        compared=int(np.count_nonzero(finite)),
        changed=int(np.count_nonzero(change)),
        special=int(np.count_nonzero(special)),
        bits_differ=bool(np.any(special) or np.any(change) or np.any(finite & (np.signbit(x) != np.signbit(y)))),
        max_abs=max_abs,
        max_rel=max_abs / largest if largest else (math.inf if max_abs else 0.0),
        largest=largest,
        rms=float(np.sqrt(np.mean(change[finite] ** 2))) if finite.any() else 0.0,
        excess=math.inf if special.any() else float(ratio.max(initial=0.0)),
        allowed=rtol * largest if math.isfinite(rtol) else math.inf,
        worst=worst[: a.ndim],
        cosine=_cosine(x[finite], y[finite]),
        exceeding=float(change.max(where=ratio > 1, initial=0.0)),
    )


def _raw(a: Array) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(a).reshape(-1).view(np.uint8)


def _finite_count(a: Array) -> int:
    if kind_of(a.dtype) == "integer":
        return a.size
    with np.errstate(all="ignore"):
        return int(np.count_nonzero(np.isfinite(widen(a))))


def _allowed(magnitude: _Floats, rtol: float, a: Array) -> _Floats:
    """``rtol`` times the magnitude nearby, and not less than the smallest normal number, below which kernels may flush to zero."""
    if not math.isfinite(rtol):
        return np.full(magnitude.shape, math.inf)
    scale = np.full(magnitude.shape, magnitude.max(initial=0.0))
    for axis in {1, magnitude.ndim - 1} if magnitude.ndim >= 2 else set():
        if magnitude.shape[axis] and magnitude.size // magnitude.shape[axis] >= _FEW:
            others = tuple(other for other in range(magnitude.ndim) if other != axis)
            scale = np.minimum(scale, magnitude.max(axis=others, keepdims=True))
    tiny = 0.0 if kind_of(a.dtype) == "integer" or rtol == 0 else _smallest_normal(a)
    return scale * rtol + tiny


def _smallest_normal(a: Array) -> float:
    wide = a.dtype.itemsize == 8 if a.dtype.kind != "c" else a.dtype.itemsize == 16
    return float(np.finfo(np.float64 if wide else np.float32).tiny)


def _cosine(x: _Floats, y: _Floats) -> float | None:
    if not x.size:
        return None
    # Scaled first: squares of large elements would be infinite.
    size = max(float(np.abs(x).max()), float(np.abs(y).max()))
    if size == 0:
        return 1.0
    x, y = x / size, y / size
    norms = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(np.vdot(x, y)) / norms if norms else 0.0


def element_distance(a: Array, b: Array) -> int | None:
    """How many numbers of the type lie from an element to its counterpart, at most; ``None`` where that means nothing.

    Args:
        a: floating-point numbers of 8, 16, 32 or 64 bits.
        b: of the same shape and element type.
    """
    dtype = DType.from_numpy(a.dtype)
    if not dtype.is_float or dtype.bits % 8 or dtype is DType.FLOAT8E8M0:
        return None
    with np.errstate(all="ignore"):
        finite = np.isfinite(a.astype(np.float64)) & np.isfinite(b.astype(np.float64))
        x, y = a[finite], b[finite]
    if not x.size:
        return None
    x, y = _rank(x), _rank(y)
    far = np.argmax(np.abs(x.astype(np.float64) - y.astype(np.float64)))  # an int64 may not hold the difference
    return abs(int(x[far]) - int(y[far]))


def _rank(array: Array) -> npt.NDArray[np.int64]:
    """Number of a floating-point number when all of its type are counted from zero upwards and downwards."""
    bits = np.ascontiguousarray(array).view(f"i{array.dtype.itemsize}").astype(np.int64)
    mask = np.int64((1 << (8 * array.dtype.itemsize - 1)) - 1)
    return np.where(bits >= 0, bits, -(bits & mask))
