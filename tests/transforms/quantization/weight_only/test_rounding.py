"""Weights to integers: errors, ranges, blocks, and parameters that runtimes take."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.ir import DType
from graphopt.transforms.quantization.parameters import dequantized, integer_range, round_trip, weight_quantization
from graphopt.transforms.quantization.weight_only import rounded_weights
from tests.transforms.harness import PROPERTY
from tests.transforms.quantization.numeric import normal

DTYPES = (DType.INT8, DType.UINT8, DType.INT4, DType.UINT4)


@PROPERTY
@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    dtype=st.sampled_from(DTYPES),
    block=st.sampled_from([0, 2, 4]),
    symmetric=st.booleans(),
    size=st.sampled_from([0.0, 1e-30, 1.0, 1e30]),
    offset=st.sampled_from([0.0, 2.0, -9.0]),
    data=st.data(),
)
def test_parameters_are_sound_and_errors_no_larger_than_by_plain_rounding(
    shape, dtype, block, symmetric, size, offset, data
):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    weights = (normal(*shape) + np.float32(offset)) * np.float32(size)
    stored, how = rounded_weights(weights, dtype, axis=axis, block=block, symmetric=symmetric)
    least, most = integer_range(dtype)
    scale, zero, numbers = how.scale.numpy().astype(np.float32), how.zero_point.numpy().astype(int), stored.astype(int)
    assert (scale > 0).all()
    assert least <= min(zero.min(), numbers.min()) <= max(zero.max(), numbers.max()) <= most
    assert weights.shape == stored.shape
    assert scale.shape == zero.shape
    plain = round_trip(weights, weight_quantization(weights, dtype, axis=axis, block=block, symmetric=symmetric))
    found = np.asarray(dequantized(stored, how), np.float64)
    scaled = max(float(np.abs(weights).max()), 1e-37)
    error, other = (np.square((item - weights) / scaled).sum() for item in (found, np.asarray(plain, np.float64)))
    assert error <= other * (1 + 1e-5) + 1e-12


@pytest.mark.parametrize("dtype", [DType.INT4, DType.UINT4])
def test_searching_lowers_the_error_of_four_bits(dtype):
    """By a tenth and more on normal weights in blocks of 32."""
    weights = normal(64, 48)
    stored, how = rounded_weights(weights, dtype, axis=0, block=32)
    plain = round_trip(weights, weight_quantization(weights, dtype, axis=0, block=32))
    found = np.asarray(dequantized(stored, how), np.float64)
    assert np.square(found - weights).sum() < 0.9 * np.square(np.asarray(plain, np.float64) - weights).sum()


def test_finer_scales_are_never_worse():
    """Blocks than channels, channels than one for all."""
    weights = normal(64, 8) * np.geomspace(0.01, 1, 8, dtype=np.float32)
    errors = [
        float(
            np.square(
                np.asarray(dequantized(*rounded_weights(part, DType.INT4, axis=axis, block=block)), np.float64) - part
            ).sum()
        )
        for part, axis, block in ((weights, 0, 16), (weights, 1, 0), (weights.reshape(1, -1), 0, 0))
    ]
    assert errors[0] < errors[1] < errors[2]


def test_many_groups_are_looked_at_in_pieces(monkeypatch):
    weights = normal(40, 64)
    whole = rounded_weights(weights, DType.INT4, axis=0, block=8, symmetric=False)
    monkeypatch.setattr("graphopt.transforms.quantization.weight_only.rounding._TOGETHER", 100)
    pieces = rounded_weights(weights, DType.INT4, axis=0, block=8, symmetric=False)
    assert (whole[0].astype(int) == pieces[0].astype(int)).all()
    assert whole[1].scale.equals(pieces[1].scale)
    assert whole[1].zero_point.equals(pieces[1].zero_point)


def test_scales_of_halves_are_halves():
    """The numbers are rounded by the scale that is stored, not by one that is more exact."""
    weights = normal(16, 8).astype(np.float16)
    stored, how = rounded_weights(weights, DType.INT8, axis=1, like=DType.FLOAT16)
    scale = how.scale.numpy().astype(np.float32)
    assert (scale == scale.astype(np.float16)).all()
    assert np.abs(stored.astype(np.float32) * scale - weights.astype(np.float32)).max() <= scale.max() * 0.51
    tiny = np.full((2, 2), 1e-7, np.float16)
    assert rounded_weights(tiny, DType.INT8, axis=1, like=DType.FLOAT16)[1].scale.numpy().astype(np.float32).min() > 0


def test_minus_eight_is_used():
    stored, how = rounded_weights(np.array([[-8.0, 7.0, 1.0, 0.0]], np.float32), DType.INT4, axis=0)
    assert ([[-8, 7, 1, 0]], [1.0]) == (stored.astype(int).tolist(), how.scale.numpy().tolist())
