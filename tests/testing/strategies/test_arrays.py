"""Tensors, shapes and types: within what is asked for, with the numbers that matter, and errors when something is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import find, settings
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument

from graphopt.ir import DType, TensorType
from graphopt.testing import shapes, tensor_types, tensors
from tests.testing.strategies.drawing import drawn


def test_shapes_keep_their_bounds():
    found = drawn(shapes(min_rank=1, max_rank=3, min_size=2, max_size=5), 100)
    assert {1, 2, 3} == {len(shape) for shape in found}
    assert {2, 3, 4, 5} == {size for shape in found for size in shape}


@pytest.mark.parametrize("wrong", [{"min_rank": 3, "max_rank": 2}, {"min_size": -1}, {"min_size": 5}])
def test_bounds_that_are_none_are_refused_when_drawn_from(wrong):
    strategy = shapes(**wrong)
    with pytest.raises(InvalidArgument, match="expected 0 <= min"):
        drawn(strategy, 1)


def test_tensor_types_take_strategies():
    found = drawn(tensor_types(element_types=st.just(DType.FLOAT16), shapes=st.just((2, 3))), 3)
    assert {TensorType(DType.FLOAT16, (2, 3))} == set(found)


def test_tensors_have_each_element_type_and_each_special_number():
    found = drawn(tensors(), 300)
    kinds = {DType.from_numpy(array.dtype) for array in found}
    assert {
        DType.FLOAT,
        DType.FLOAT16,
        DType.DOUBLE,
        DType.INT8,
        DType.INT64,
        DType.BOOL,
        DType.STRING,
    } <= kinds
    floats = np.concatenate([array.reshape(-1).astype(np.float64) for array in found if array.dtype == np.float32])
    assert np.isnan(floats).any()
    assert np.isposinf(floats).any()
    assert np.isneginf(floats).any()
    assert (np.signbit(floats) & (floats == 0)).any(), "negative zeros"
    assert ((floats != 0) & (np.abs(floats) < 1e-38)).any(), "denormals"
    assert {0, 1} <= {array.ndim for array in found}
    assert any(array.size == 0 for array in found)


def test_calm_tensors_are_small_and_exact():
    for array in drawn(tensors(element_types=st.just(DType.FLOAT), allow_extremes=False), 60):
        wide = array.astype(np.float64)
        assert (np.abs(wide) <= 4).all()
        assert (wide * 8 == np.round(wide * 8)).all()


def test_tensors_shrink_to_small_ones():
    found = find(
        tensors(shapes=shapes(max_rank=3)),
        lambda array: array.size > 1,
        settings=settings(max_examples=200, database=None),
    )
    assert 2 == found.size
