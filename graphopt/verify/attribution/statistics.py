"""How far two arrays are apart, in pieces: what is needed beside them does not grow with them."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from graphopt.ir import Array, DType
from graphopt.numerics import Exact, Reassociates
from graphopt.runtime.base import Datum
from graphopt.verify.attribution.result import LayerError
from graphopt.verify.numbers import element_distance
from graphopt.verify.tolerance import kind_of, relative_tolerance, widen

__all__ = ["measure"]

_PIECE: Final = 1 << 18
_TINY: Final = float(np.finfo(np.float32).tiny)


def measure(expected: Datum, actual: Datum, rtol: float) -> LayerError | None:
    """How far a value is from what it should be; ``None`` for what is no tensor.

    Args:
        expected: of the first model.
        actual: of the other one; another floating-point type is no error, the coarser one decides what is allowed.
        rtol: allowed in float32, relative to the largest magnitude; 0 allows what kernels may differ by.

    Example:
        >>> found = measure(np.array([1, 2], np.float32), np.array([1, 2.5], np.float32), 1e-4)
        >>> found.status, found.max_abs, found.relative
        ('wrong', 0.5, 0.25)
    """
    if not isinstance(expected, np.ndarray) or not isinstance(actual, np.ndarray):
        return None
    if expected.shape != actual.shape:
        note = f"shape {list(actual.shape)}, expected {list(expected.shape)}"
        return LayerError("wrong", relative=math.inf, note=note)
    kinds = {kind_of(expected.dtype), kind_of(actual.dtype)}
    note = (
        ""
        if expected.dtype == actual.dtype
        else f"{DType.from_numpy(actual.dtype)}, was {DType.from_numpy(expected.dtype)}"
    )
    if "text" in kinds:
        same = len(kinds) == 1 and bool(np.all(expected == actual))
        return LayerError("same" if same else "wrong", relative=0.0 if same else math.inf, note=note)
    if len(kinds) > 1:
        return LayerError("wrong", relative=math.inf, note=note)
    numerics = Reassociates(rtol) if rtol else Exact()
    allowed = max(relative_tolerance(numerics, array.dtype) for array in (expected, actual))
    return _Sums().over(expected, actual).error(allowed, note)


class _Sums:
    """What is added up over the pieces."""

    def __init__(self) -> None:
        self.special = 0
        self.compared = 0
        self.max_abs = self.largest = self.largest_actual = 0.0
        self.noise = self.signal = self.actual_signal = self.product = 0.0
        self.ulp: int | None = None

    def over(self, expected: Array, actual: Array) -> _Sums:
        one, other = expected.reshape(-1), actual.reshape(-1)
        for start in range(0, one.size, _PIECE):
            self._add(one[start : start + _PIECE], other[start : start + _PIECE])
        return self

    def _add(self, one: Array, other: Array) -> None:
        with np.errstate(all="ignore"):
            a = widen(one).reshape(-1)
            b = a if one.dtype == other.dtype and one.tobytes() == other.tobytes() else widen(other).reshape(-1)
            finite = np.isfinite(a) & np.isfinite(b)
            self.special += int(np.count_nonzero(~finite & ~(np.isnan(a) & np.isnan(b)) & (a != b)))
            places = None if finite.all() else np.flatnonzero(finite)
            if places is not None:
                a, b = a[places], b[places]
            self.compared += a.size
            self.largest = max(self.largest, _largest(a))
            self.signal += _product(a, a)
            self.actual_signal += _product(b, b)
            self.product += _product(a, b)
            self.largest_actual = max(self.largest_actual, _largest(b))
            change = np.abs(a - b)
            if kind_of(one.dtype) == "integer" and one.dtype == other.dtype:  # large integers round to the same float64
                differ = one != other if places is None else (one != other)[places]
                change = np.where(differ, np.maximum(change, 1.0), 0.0)
            self.noise += _product(change, change)
        if change.size:
            worst = int(np.argmax(change))
            self._note_worst(float(change[worst]), one, other, worst if places is None else int(places[worst]))

    def _note_worst(self, change: float, one: Array, other: Array, place: int) -> None:
        if change > self.max_abs:
            self.max_abs = change
            if one.dtype == other.dtype and kind_of(one.dtype) == "float":
                self.ulp = element_distance(one[place : place + 1], other[place : place + 1])

    def error(self, allowed: float, note: str) -> LayerError:
        scale = self.largest or self.largest_actual
        relative = math.inf if self.special else self.max_abs / scale if self.max_abs else 0.0
        wrong = bool(self.special) or self.max_abs > allowed * scale + (_TINY if allowed else 0.0)
        if self.special:
            note = "; ".join(filter(None, (f"{self.special} elements are NaN or infinite in one model only", note)))
        norms = math.sqrt(self.signal) * math.sqrt(self.actual_signal)
        ratio = self.signal / self.noise if self.noise else 0.0
        return LayerError(
            "wrong" if wrong else "ok" if self.max_abs else "same",
            max_abs=self.max_abs,
            relative=relative,
            rms=math.sqrt(self.noise / self.compared) if self.compared else 0.0,
            sqnr_db=10 * math.log10(ratio) if 0 < ratio < math.inf else None,
            cosine=min(1.0, self.product / norms) if 0 < norms < math.inf else None,
            ulp=self.ulp,
            not_finite=self.special,
            note=note,
        )


def _largest(numbers: npt.NDArray[np.float64]) -> float:
    return max(float(numbers.max(initial=0.0)), -float(numbers.min(initial=0.0)))


def _product(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """The scalar product, in this thread: those of a BLAS library wait for each other on a busy machine."""
    return float(np.einsum("i,i->", a, b))
