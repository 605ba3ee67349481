"""Constants in a narrower type: what fits, what does not, and what stands for infinity."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from graphopt.ir import Constant, DType
from graphopt.transforms.quantization.float16.narrowing import changed_constant, is_as_good_as_infinite, why_not_narrow


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ([1.0, -2.0], ""),
        ([65504.0], ""),
        ([65505.0, 1.0], "a constant has 65505, and the largest number of float16 is 65504"),
        ([-70000.0], "a constant has 70000, and the largest number of float16 is 65504"),
        ([-1e9], ""),
        ([np.inf, -np.inf, np.nan, 3.0], ""),
        ([np.nan, 70000.0], "a constant has 70000, and the largest number of float16 is 65504"),
        ([3.4e38, 70000.0], "a constant has 70000, and the largest number of float16 is 65504"),
        ([1e-12], "a constant of at most 1e-12 becomes 0"),
        ([1e-6, 0.0], "a constant of at most 1e-06 becomes 1.01328e-06"),
        ([1e-5], ""),
        ([1e-12, 1.0], ""),
        ([0.0], ""),
        ([], ""),
    ],
)
def test_what_fits_into_halves(numbers, reason):
    found = why_not_narrow(Constant(np.array(numbers, np.float32)), DType.FLOAT16)
    assert reason == ("" if found is None else str(found))


@pytest.mark.parametrize("numbers", [[70000.0], [1e-12], [3e38], [1e30, -1.0]])
def test_bfloat16_holds_what_float32_does(numbers):
    assert why_not_narrow(Constant(np.array(numbers, np.float32)), DType.BFLOAT16) is None


@pytest.mark.parametrize(("compared", "largest"), [(False, 32752.0), (True, 65504.0)])
def test_what_stands_for_infinity(compared, largest):
    """Half of the range where it is added, all of it where something is compared with it."""
    array = np.array([np.finfo(np.float32).min, 1e9, -np.inf, np.nan, 2.0], np.float32)
    found = changed_constant(Constant(array), DType.FLOAT16, compared=compared).numpy().astype(np.float64)
    np.testing.assert_array_equal(found, [-largest, largest, -np.inf, np.nan, 2.0])
    assert is_as_good_as_infinite(array)
    assert not is_as_good_as_infinite(np.array([np.inf, 70000.0]))


def test_the_largest_float32_is_no_infinity_in_bfloat16():
    found = changed_constant(Constant(np.array([np.finfo(np.float32).max], np.float32)), DType.BFLOAT16, compared=True)
    assert float(ml_dtypes.finfo(ml_dtypes.bfloat16).max) == float(found.numpy().astype(np.float64)[0])


def test_halves_become_floats_exactly():
    halves = np.array([1.5, -65504, 6e-8, np.inf], np.float16)
    np.testing.assert_array_equal(changed_constant(Constant(halves), DType.FLOAT).numpy(), halves.astype(np.float32))
