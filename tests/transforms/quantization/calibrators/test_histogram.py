"""Counts are right to the last number, whatever the bins are; ends are right to a bin."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from graphopt.transforms.quantization.calibrators import Histogram
from graphopt.transforms.quantization.calibrators.encoding import decoded_counts, encoded_counts

NUMBERS = hnp.arrays(
    np.float32, st.integers(1, 40), elements=st.floats(allow_nan=False, allow_infinity=False, width=32)
)


def counted(*arrays, bins=16):
    found = Histogram(bins)
    for array in arrays:
        found.add(array)
    return found


@given(NUMBERS)
def test_each_number_is_in_its_bin(numbers):
    """Recounted one by one with exact integers; very small numbers beside very large ones too."""
    found = counted(numbers)
    expected = np.zeros_like(found.counts)
    for number in numbers.tolist():
        above, below = number.as_integer_ratio()
        step = found.exponent
        index = (above << max(-step, 0)) // (below << max(step, 0))
        expected[index - found.first] += 1
    np.testing.assert_array_equal(expected, found.counts)
    assert found.counts.size <= 16
    assert found.counts[0]
    assert found.counts[-1]


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e6, 1e30])
def test_large_arrays_are_counted_in_pieces(scale):
    """More numbers than a piece has, in any memory order, in float32 as in float64."""
    numbers = (np.random.default_rng(0).standard_normal((300, 700)) * scale).astype(np.float32)
    found = counted(numbers, bins=4096)
    assert numbers.size == found.total
    expected = np.bincount(
        np.floor(np.ldexp(numbers.ravel().astype(np.float64), -found.exponent)).astype(np.int64) - found.first
    )
    np.testing.assert_array_equal(expected, found.counts)
    for same in (numbers.T, numbers[::-1], numbers.astype(np.float64)):
        assert found.state() == counted(same, bins=4096).state()


@given(NUMBERS, st.sampled_from([16, 64]))
def test_a_coarser_one_is_what_fewer_bins_give(numbers, bins):
    found = counted(numbers, bins=256)
    before = found.state()
    coarse = found.coarser(bins)
    if found.counts.size > bins:
        assert counted(numbers, bins=bins).state() == coarse.state()
    assert before == found.state()


def test_numbers_far_from_zero_have_narrow_bins():
    found = counted(np.array([1e6, 1e6 + 1], np.float64), np.array([1e6 + 0.5], np.float32))
    assert 0.125 == found.width
    assert [1, 1, 1] == found.counts[found.counts > 0].tolist()


def test_the_array_is_neither_kept_nor_changed():
    numbers = np.linspace(-1, 1, 1001, dtype=np.float32)
    before = numbers.copy()
    counted(numbers)
    np.testing.assert_array_equal(before, numbers)


@given(st.lists(NUMBERS, min_size=1, max_size=4), st.floats(50, 100))
def test_ends_are_percentiles_to_a_bin(batches, percentile):
    """Never narrower than the numbers of those ranks, and wider by one bin at most."""
    found = counted(*batches)
    ordered = np.sort(np.concatenate(batches).astype(np.float64))
    cut = math.floor((100 - percentile) / 200 * ordered.size)
    low, high = found.bounds((100 - percentile) / 200)
    assert ordered[cut] - found.width <= low <= ordered[cut]
    assert ordered[-1 - cut] <= high <= ordered[-1 - cut] + found.width


def test_what_is_outside_is_counted_to_a_bin():
    found = counted(np.linspace(0, 1, 1_000_001, dtype=np.float32), bins=4096)
    for low, high in ((0.0, 1.0), (0.0, 0.75), (0.1, 0.9), (-5.0, 5.0), (0.40001, 0.40002)):
        expected = 1 - (min(high, 1.0) - max(low, 0.0))
        assert abs(expected - found.outside(low, high)) < 1e-5
    assert 0.0 == counted(np.zeros(3, np.float32)).outside(0.0, 0.0)


@given(hnp.arrays(np.int64, st.integers(0, 50), elements=st.integers(0, 2**62)))
def test_counts_survive_their_text(counts):
    np.testing.assert_array_equal(counts, decoded_counts(encoded_counts(counts)))


@pytest.mark.parametrize("text", [3, "", "x", "1", "1!!", "1AAAA", encoded_counts(np.arange(99))[:-8]])
def test_damaged_counts_are_refused(text):
    with pytest.raises(ValueError, match=r"counts are"):
        decoded_counts(text)


@pytest.mark.parametrize("change", [{"first": 3}, {"low": -1e9}, {"bins": 16}, {"exponent": 0}])
def test_a_state_that_contradicts_itself_is_refused(change):
    state = counted(np.linspace(0, 1, 99, dtype=np.float32), bins=64).state()
    with pytest.raises(ValueError, match="counts do not fit numbers from"):
        Histogram.from_state({**state, **change})


def test_histograms_of_other_bins_are_not_merged():
    with pytest.raises(ValueError, match="a histogram of 32 bins can't be merged into one of 16"):
        Histogram(16).merge(Histogram(32))
