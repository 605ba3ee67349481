"""How far two arrays are apart."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

from graphopt.ir import Array
from graphopt.verify.attribution import statistics
from graphopt.verify.attribution.result import LayerError
from graphopt.verify.attribution.statistics import measure
from graphopt.verify.numbers import deviation


def measured(expected: Array, actual: Array, rtol: float = 1e-4) -> LayerError:
    found = measure(expected, actual, rtol)
    assert found is not None
    return found


@pytest.mark.parametrize("size", [0, 1, 100, 1000])
@pytest.mark.parametrize(
    "dtype", [np.float32, np.float16, ml_dtypes.bfloat16, np.float64, np.int64, np.uint8, np.complex64]
)
def test_pieces_add_up_to_the_whole(size: int, dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers are those of the comparison of outputs, whatever the size of a piece."""
    rng = np.random.default_rng(size)
    a: Array = (rng.standard_normal((size, 2)) * 40 + 60).astype(dtype)
    b: Array = (a + rng.integers(0, 2, a.shape).astype(dtype)).astype(dtype)
    monkeypatch.setattr(statistics, "_PIECE", 64)
    found, whole = measured(a, b), deviation(a, b, 1e-4)
    assert (whole.max_abs, whole.max_rel) == (found.max_abs, found.relative)
    assert whole.rms == pytest.approx(found.rms)
    assert (found.status == "same") == (not found.max_abs)
    if found.max_abs:
        assert whole.cosine == pytest.approx(found.cosine)


def test_tolerance_is_relative_to_the_largest_number() -> None:
    """Small elements beside large ones may be off by more of their own size."""
    a = np.array([1000, 1e-3], np.float32)
    assert "ok" == measured(a, a + np.array([0, 0.05], np.float32)).status
    assert "wrong" == measured(a, a + np.array([0, 0.2], np.float32)).status
    assert "wrong" == measured(a, a + np.array([0, 0.05], np.float32), rtol=0).status


def test_nan_and_infinities_must_stay_in_their_places() -> None:
    """In one model only they are an infinite error, in both none."""
    a = np.array([1, math.nan, math.inf], np.float32)
    assert "same" == measured(a, a.copy()).status
    found = measured(a, np.array([1, 1, -math.inf], np.float32))
    assert ("wrong", math.inf, 2, 0.0) == (found.status, found.relative, found.not_finite, found.max_abs)


def test_another_shape_is_wrong_and_another_precision_is_not() -> None:
    """A shape means another value; half precision is compared with its own precision."""
    a = np.linspace(1, 2, 64, dtype=np.float32)
    found = measured(a, a.reshape(8, 8))
    assert ("wrong", "shape [8, 8], expected [64]") == (found.status, found.note)
    half = measured(a, a.astype(np.float16))
    assert ("ok", "float16, was float", None) == (half.status, half.note, half.ulp)
    assert half.max_abs > 0
    assert "wrong" == measured(a, a.astype(np.int32)).status


def test_signal_to_noise_and_units_in_the_last_place() -> None:
    """A noise of a hundredth is 40 dB; the unit is counted where the difference is largest."""
    a = np.full(10, 1.0, np.float32)
    assert 40 == pytest.approx(measured(a, np.full(10, 1.01, np.float32)).sqnr_db or 0, abs=1e-3)
    assert 1 == measured(a, np.nextafter(a, np.float32(2))).ulp
    assert measured(a, a).sqnr_db is None


def test_large_integers_that_round_to_one_float_differ() -> None:
    """2**53 and the next one."""
    found = measured(np.array([2**53], np.int64), np.array([2**53 + 1], np.int64))
    assert ("wrong", 1.0) == (found.status, found.max_abs)


def test_texts_are_equal_or_not_and_sequences_are_no_tensors() -> None:
    """No numbers for texts."""
    a = np.array(["a", "b"], object)
    assert ["same", "wrong"] == [measured(a, other).status for other in (a.copy(), np.array(["a", "c"], object))]
    assert measure([a], [a], 0) is None
