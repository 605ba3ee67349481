"""Scales and zero points, and what numbers become by them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from graphopt.ir import DType
from graphopt.passes import Range
from graphopt.transforms.quantization.parameters import (
    activation_quantization,
    bias_quantization,
    dequantized,
    fitted_to_bias,
    integer_range,
    quantized,
    represented,
    round_trip,
    weight_quantization,
)
from tests.transforms.harness import PROPERTY

DTYPES = (DType.UINT8, DType.INT8, DType.UINT16, DType.INT16)
NUMBERS = st.floats(-(2.0**100), 2.0**100, width=32)
RANGES = st.tuples(NUMBERS, NUMBERS).map(lambda ends: Range(min(ends), max(ends)))
WEIGHTS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=5),
    elements=st.floats(-100, 100, width=32),
)
TINY = float(np.finfo(np.float32).tiny)


@PROPERTY
@given(RANGES, st.sampled_from(DTYPES), st.booleans(), st.booleans())
def test_scales_are_positive_and_normal_and_zero_points_in_range(found, dtype, symmetric, reduced):
    how = activation_quantization(found, dtype, symmetric=symmetric, reduce_range=reduced)
    low, high = integer_range(dtype)
    assert TINY <= float(how.scale.numpy()) < np.inf
    assert low <= int(how.zero_point.numpy()) <= high
    assert how.zero_point.dtype is dtype


@PROPERTY
@given(RANGES, st.sampled_from(DTYPES))
def test_zero_is_exact(found, dtype):
    assert 0.0 == round_trip(np.zeros(1, np.float32), activation_quantization(found, dtype))[0]


@PROPERTY
@given(RANGES, st.sampled_from(DTYPES), st.booleans(), st.lists(st.floats(0, 1, width=32), min_size=1))
def test_numbers_of_the_range_come_back_within_half_a_step(found, dtype, symmetric, places):
    """The zero point is rounded too, so numbers at the ends may be half a step further off."""
    how = activation_quantization(found, dtype, symmetric=symmetric)
    low, high = min(found.low, 0.0), max(found.high, 0.0)
    numbers = np.array([low + (high - low) * place for place in places], np.float32)
    step = float(how.scale.numpy())
    inside = (numbers >= represented(how)[0]) & (numbers <= represented(how)[1])
    errors = np.abs(round_trip(numbers, how).astype(np.float64) - numbers)
    slack = step * 2**-6 + np.abs(numbers) * 2**-20  # float32 in which all this is done
    assert (errors[inside] <= step / 2 + slack[inside]).all()
    assert (errors <= step + slack).all()


@PROPERTY
@given(RANGES, st.sampled_from(DTYPES), st.booleans(), st.lists(NUMBERS, min_size=1))
def test_what_came_back_comes_back_as_it_is(found, dtype, symmetric, numbers):
    """Also what saturates: integers are the same a second time, and so are the numbers that they stand for."""
    how = activation_quantization(found, dtype, symmetric=symmetric)
    stored = quantized(np.array(numbers, np.float32), how)
    again = dequantized(stored, how)
    np.testing.assert_array_equal(quantized(again, how), stored)
    np.testing.assert_array_equal(round_trip(again, how), again)


@PROPERTY
@given(WEIGHTS, st.data(), st.booleans(), st.booleans())
def test_one_scale_for_each_channel_is_never_worse_than_one_for_all(weights, data, symmetric, reduced):
    axis = data.draw(st.integers(0, weights.ndim - 1))
    errors = []
    for at in (axis, None):
        how = weight_quantization(weights, DType.INT8, axis=at, symmetric=symmetric, reduce_range=reduced)
        scale: Any = how.scale.numpy()
        assert (scale >= TINY).all()
        used = (np.abs(np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)) >= 255 * TINY).any(axis=1)
        errors.append(np.where(used, scale, 0.0))  # zero, or as good as that, is stored as zero whatever the scale is
    assert (errors[0] <= errors[1] * (1 + 2**-20)).all(), "half of that is the most that a weight is off"


@PROPERTY
@given(WEIGHTS, st.data(), st.sampled_from((DType.INT8, DType.INT4)), st.booleans())
def test_weights_come_back_within_half_a_step(weights, data, dtype, reduced):
    axis = data.draw(st.none() | st.integers(-weights.ndim, weights.ndim - 1))
    how = weight_quantization(weights, dtype, axis=axis, reduce_range=reduced)
    stored = quantized(weights, how)
    low, high = integer_range(dtype, symmetric=True, reduce_range=reduced)
    assert low <= stored.astype(int).min() <= stored.astype(int).max() <= high, "no number saturates"
    step: Any = how.scale.numpy()
    if axis is not None:
        step = step.reshape([-1 if at == axis % weights.ndim else 1 for at in range(weights.ndim)])
    assert (np.abs(dequantized(stored, how) - weights) <= step / 2 * (1 + 2**-12) + 1e-6).all()


@PROPERTY
@given(WEIGHTS, st.floats(TINY, 1e10, width=32), st.floats(0, 1e6, width=32))
def test_a_bias_fits_int32_in_steps_of_the_products(weights, step, largest):
    read = activation_quantization(Range(0.0, step * 255), DType.UINT8)
    bias = np.linspace(-largest, largest, weights.shape[0]).astype(np.float32)
    how = fitted_to_bias(weight_quantization(weights, DType.INT8, axis=0), weights, read, bias)
    scales = bias_quantization(read, how)
    assert np.isfinite(how.scale.numpy()).all()
    steps: Any = scales.scale.numpy()
    assert (steps >= TINY).all()
    error = np.abs(round_trip(bias, scales).astype(np.float64) - bias)
    assert (error <= steps / 2 + np.abs(bias) * 2**-20).all()


def test_a_channel_of_zeros_keeps_its_bias():
    """Whatever scale its weights have; the usual 1 would make steps as large as those of the activations."""
    weights = np.array([[1.0, -0.5], [0.0, 0.0]], np.float32)
    read = activation_quantization(Range(0.0, 25.5), DType.UINT8)
    bias = np.array([0.3, 0.3], np.float32)
    how = fitted_to_bias(weight_quantization(weights, DType.INT8, axis=0), weights, read, bias)
    found: Any = round_trip(bias, bias_quantization(read, how))
    np.testing.assert_allclose(found, bias, atol=1e-3)


@pytest.mark.parametrize(("low", "high"), [(0.0, 6.0), (-1.0, 1.0), (-0.1, 3.0)])
def test_what_integers_represent_is_the_range(low, high):
    found = represented(activation_quantization(Range(low, high), DType.UINT8))
    assert (low, high) == pytest.approx(found, abs=(high - low) / 255)
