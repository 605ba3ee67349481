"""What counts as equal, and what is said about what is not."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from graphopt.numerics import Exact, Lossy, Numerics, Reassociates
from graphopt.verify import Difference, Noise, compare
from graphopt.verify.comparator import compare_types

FLOATS = [np.float16, np.float32, np.float64, ml_dtypes.bfloat16]
DTYPES = [*FLOATS, np.int8, np.int64, np.uint64, np.bool_, np.complex64, ml_dtypes.int4, ml_dtypes.float8_e4m3fn]
LEVELS: list[Numerics] = [Exact(), Reassociates(), Lossy()]


def one(a: Any, b: Any, numerics: Numerics | None = None, **rest: Any) -> Difference:
    (found,) = compare("y", a, b, numerics or Exact(), **rest)
    return found


def finite_floats(dtype: Any = np.float32) -> st.SearchStrategy[Any]:
    shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=6)
    width = np.dtype(dtype).itemsize * 8
    return hnp.arrays(dtype, shapes, elements=st.floats(-1e4, 1e4, width=width))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("numerics", LEVELS, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 4)])
def test_a_tensor_equals_itself(dtype, numerics, shape):
    a = np.ones(shape, np.float32).astype(dtype)
    found = one(a, a.copy(), numerics)
    parts = 2 if a.dtype.kind == "c" else 1
    assert ("ok", None, parts * a.size) == (found.status, found.worst, found.compared)
    assert found.identical


@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=0), elements=st.floats(width=32)))
def test_any_floats_equal_themselves(a):
    """NaN, infinities and signed zeros included, under each rule."""
    for numerics in LEVELS:
        assert one(a, a.copy(), numerics).identical


@given(finite_floats(), st.data())
def test_any_single_element_beyond_the_tolerance_is_found(a, data):
    where = tuple(data.draw(st.integers(0, size - 1)) for size in a.shape)
    factor = data.draw(st.floats(1.01, 1e6))
    sign = data.draw(st.sampled_from([1, -1]))
    numerics = Reassociates(1e-4)
    scale = float(np.abs(a).max())
    assume(scale > 1e-30)
    b = a.astype(np.float64)
    b[where] += sign * factor * 1.0001e-4 * scale
    b = b.astype(np.float32)
    found = one(a, b, numerics)
    assert ("failed", where) == (found.status, found.worst)
    assert found.excess > 1


@given(finite_floats(), st.integers(0, 2**32 - 1))
def test_rounding_passes_where_it_is_declared_and_is_seen_where_it_is_not(a, seed):
    rng = np.random.default_rng(seed)
    b = np.nextafter(a, (a + rng.choice([-1, 1], a.shape)).astype(np.float32))
    assume(np.abs(a).max() > 1e-30)
    assert "ok" == one(a, b, Reassociates()).status
    found = one(a, b)
    assert ("ok", "not bit-exact, as when kernels differ") == (found.status, found.note)
    assert not found.identical
    assert 1 == found.ulp


@given(finite_floats(), st.data())
def test_exact_finds_whatever_kernels_do_not_do(a, data):
    where = tuple(data.draw(st.integers(0, size - 1)) for size in a.shape)
    b = a.copy()
    b[where] += np.float32(max(float(np.abs(a).max()), 1e-3) * 1e-5)
    assert "failed" == one(a, b).status


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("numerics", LEVELS, ids=str)
def test_nan_and_infinity_must_stand_where_they_stood(special, numerics):
    a = np.array([1, 2, 3], np.float32)
    b = np.array([1, special, 3], np.float32)
    for x, y in ((a, b), (b, a)):
        found = one(x, y, numerics)
        assert ("failed", (1,)) == (found.status, found.worst)
        assert "NaN or infinite on one side only" in found.note
    assert one(b, b.copy(), numerics).identical
    assert "failed" == one(np.array([np.inf]), np.array([-np.inf]), numerics).status


def test_nan_payloads_do_not_count():
    a = np.array([0x7FC00000, 0x3F800000], np.uint32).view(np.float32)
    b = np.array([0xFFC12345, 0x3F800000], np.uint32).view(np.float32)
    assert one(a, b).identical


def test_signs_of_zeros_count_only_where_bits_do():
    a, b = np.array([0.0, 1.0], np.float32), np.array([-0.0, 1.0], np.float32)
    assert ("failed", "signs of zeros differ") == (one(a, b).status, one(a, b).note)
    assert "ok" == one(a, b, Reassociates()).status


def test_small_numbers_beside_large_ones_are_held_to_their_own_size():
    a = np.concatenate([np.full((100, 4), 1000.0), np.full((100, 1), 0.5)], 1).astype(np.float32)
    b = a.copy()
    b[17, 4] = 0.45
    found = one(a, b, Reassociates(1e-4))
    assert ("failed", (17, 4)) == (found.status, found.worst)
    channels = np.ascontiguousarray(a.T[None, :, :, None])
    changed = np.ascontiguousarray(b.T[None, :, :, None])
    assert "failed" == one(channels, changed, Reassociates(1e-4)).status


def test_element_types_and_shapes_must_agree():
    a = np.ones((2, 3), np.float32)
    found = one(a, np.ones((2, 3), np.float64), Lossy())
    assert ("failed", "element type double, expected float") == (found.status, found.note)
    found = one(a, np.ones((3, 2), np.float32), Lossy())
    assert ("failed", "shape [3, 2], expected [2, 3]") == (found.status, found.note)


@pytest.mark.parametrize("numerics", [Exact(), Reassociates(1e-1)], ids=str)
@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.array([True, False]), np.array([True, True])),
        (np.array([2**60]), np.array([2**60 + 1])),
        (np.array([2**63 + 5], np.uint64), np.array([2**63 + 6], np.uint64)),
        (np.array([1000, 3]), np.array([1001, 3])),
        (np.array(["a", "b"], object), np.array(["a", "c"], object)),
    ],
)
def test_integers_truth_values_and_texts_are_compared_exactly(a, b, numerics):
    assert "failed" == one(a, b, numerics).status
    assert one(a, a.copy(), numerics).identical


def test_bytes_and_texts_are_the_same_words():
    assert one(np.array(["ß"], object), np.array(["ß".encode()], object)).identical
    assert one(np.array(["a"]), np.array(["a"], object)).identical


def test_sequences_maps_and_optionals():
    a: Any = [np.ones(2, np.float32), np.zeros(1, np.float32)]
    assert ["y[0]", "y[1]"] == [item.name for item in compare("y", a, list(a), Exact())]
    found = one(a, a[:1])
    assert ("failed", "1 elements, expected 2") == (found.status, found.note)
    maps: Any = [{"cat": 0.5, "dog": 0.5}]
    other: Any = [{"cat": 0.5, "dog": 0.75}]
    assert [("y[0]['cat']", "ok"), ("y[0]['dog']", "failed")] == [
        (item.name, item.status) for item in compare("y", maps, other, Exact())
    ]
    assert "expected y[0]['cat'], y[0]['dog']" in one(maps, [{"cat": 0.5, "cow": 0.5}]).note
    assert "ok" == one(None, None).status
    assert "there is a value, expected none" == one(None, a[0]).note
    assert "there is no value, expected one" == one(a[0], None).note


def test_a_wrong_difference_is_described():
    a = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    b = a.copy()
    b[1, 0] = 3.5
    found = one(a, b)
    assert (0.5, 0.125, "3", "3.5", (1, 0), 4) == (
        found.max_abs,
        found.max_rel,
        found.expected,
        found.actual,
        found.worst,
        found.compared,
    )
    assert found.ulp == int(np.float32(3.5).view(np.int32)) - int(np.float32(3).view(np.int32))
    assert found.cosine is not None
    assert 0.99 < found.cosine < 1
    text = str(found)
    assert "output 'y' (float[2, 2]): at [1, 0]: 3.5, expected 3; max abs 0.5, relative 0.125" in text


def test_distance_in_numbers_of_the_type_crosses_zero():
    tiny = np.array([1e-45], np.float32)
    assert 2 == one(tiny, -tiny, Reassociates()).ulp
    span = 2 * int(np.float64(1e308).view(np.int64))
    assert span == one(np.array([-1e308]), np.array([1e308])).ulp


@pytest.mark.parametrize("dtype", FLOATS)
def test_coarse_types_get_few_units_in_the_last_place(dtype):
    eps = float(ml_dtypes.finfo(dtype).eps)
    a = np.array([1.0], np.float64).astype(dtype)
    near = np.array([1.0 + 2 * eps], np.float64).astype(dtype)
    far = np.array([1.0 + 1000 * eps], np.float64).astype(dtype)
    assert "ok" == one(a, near, Reassociates()).status
    assert "failed" == one(a, far, Reassociates()).status


def test_noise_lets_steps_pass_that_the_original_makes_too():
    a = np.zeros(1000, np.float32)
    a[0] = 10
    steps, shift, leap = a.copy(), a + np.float32(0.1), a.copy()
    steps[[3, 70]] += np.float32(0.1)
    leap[3] += np.float32(0.5)
    rounding = Noise(largest=0.1, rms=0.1 / math.sqrt(1000), flipped=0.001)
    found = one(a, steps, Reassociates(), noise={"y": rounding})
    assert ("ok", 1.0) == (found.status, found.excess)
    assert "within 4 times what the original moves by itself (0.1)" == found.note
    assert "failed" == one(a, shift, Reassociates(), noise={"y": rounding}).status
    assert "failed" == one(a, leap, Reassociates(), noise={"y": rounding}).status
    assert "failed" == one(a, steps, Reassociates()).status


def test_an_output_that_moves_by_its_own_size_is_unstable():
    a, b = np.array([1.0, 2.0], np.float32), np.array([2.0, 1.0], np.float32)
    found = one(a, b, Reassociates(), noise={"y": Noise(1.0, 1.0, 1.0)})
    assert "unstable" == found.status
    found = one(np.arange(3), np.arange(3)[::-1].copy(), Reassociates(), noise={"y": Noise(2.0, 1.0, 0.6)})
    assert "unstable" == found.status
    found = one(np.ones(3), np.ones(4), Reassociates(), noise={"y": Noise(shape_changes=True)})
    assert "unstable" == found.status
    found = one([np.ones(3)], [np.ones(3)] * 2, Reassociates(), noise={"y": Noise(shape_changes=True)})
    assert "unstable" == found.status
    found = one(np.ones(3), np.array([1, np.nan, 1]), Reassociates(), noise={"y": Noise(shape_changes=True)})
    assert "unstable" == found.status


def test_a_difference_that_rounding_does_not_explain_fails_within_the_tolerance():
    a = np.ones(10, np.float32)
    b = a + np.float32(5e-5)
    assert "ok" == one(a, b, Reassociates(1e-4)).status
    assert "failed" == one(a, b, Reassociates(1e-4), beyond_doubt=True).status
    assert "ok" == one(a, b, Reassociates(1e-4), noise={"y": Noise(1e-5, 1e-5, 1.0)}).status
    found = one(a, b, Reassociates(1e-4), noise={"y": Noise(1e-7, 1e-7, 1.0)})
    assert "failed" == found.status
    assert found.excess > 1
    assert "rounding moves it by 1e-07 only" in found.note
    assert "ok" == one(a, a + np.float32(5e-6), Reassociates(1e-4), noise={"y": Noise(1e-7, 1e-7, 1.0)}).status


def test_near_ties_may_flip_as_often_as_they_flip_in_the_original():
    a = np.zeros(100, np.int64)
    few, many = a.copy(), a.copy()
    few[:3], many[:30] = 7, 7
    noise = {"y": Noise(7.0, 0.7, 0.01)}
    assert "ok" == one(a, few, Reassociates(), noise=noise).status
    assert "failed" == one(a, many, Reassociates(), noise=noise).status
    assert "failed" == one(a, few, Exact()).status
    texts = np.array(["a"] * 10, object)
    flipped = np.array(["b"] + ["a"] * 9, object)
    assert "ok" == one(texts, flipped, Reassociates(), noise={"y": Noise(flipped=0.1)}).status


def test_quantized_numbers_move_by_steps_not_by_leaps():
    a = np.zeros(100, np.uint8)
    step, leap = a.copy(), a.copy()
    step[0], leap[0] = 1, 9
    noise = {"y": Noise(1.0, 0.1, 0.01)}
    assert "ok" == one(a, step, Reassociates(), noise=noise).status
    assert "failed" == one(a, leap, Reassociates(), noise=noise).status


def test_random_outputs_are_compared_by_type_only():
    a = np.ones((2, 3), np.float32)
    assert ["skipped"] == [item.status for item in compare_types("y", a, a * 7)]
    assert ["failed"] == [item.status for item in compare_types("y", a, a[0])]
    assert ["failed"] == [item.status for item in compare_types("y", a, a.astype(np.float64))]


def test_complex_numbers_are_compared_by_parts():
    a = np.array([[1 + 2j, 3 - 1j]], np.complex64)
    b = a.copy()
    b[0, 1] += np.complex64(0.5j)
    found = one(a, b, Reassociates())
    assert ("failed", (0, 1), 0.5) == (found.status, found.worst, found.max_abs)
    assert one(a, a.copy()).identical
