"""The smallest and largest number seen."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from graphopt.passes import Calibrator, Range
from graphopt.transforms.quantization import MinMax

NUMBERS = hnp.arrays(np.float32, st.integers(1, 20), elements=st.floats(-(2.0**100), 2.0**100, width=32))


def seen(*arrays):
    found = MinMax()
    for array in arrays:
        found.observe(array)
    return found


def test_it_is_a_calibrator():
    assert isinstance(MinMax(), Calibrator)


@given(st.lists(NUMBERS, min_size=2), st.data())
def test_merged_runs_are_one_run_on_the_union(arrays, data):
    """Wherever the data is cut, and whichever part comes first."""
    cut = data.draw(st.integers(1, len(arrays) - 1))
    for parts in ((arrays[:cut], arrays[cut:]), (arrays[cut:], arrays[:cut])):
        one, two = (seen(*part) for part in parts)
        one.merge(two)
        assert seen(*arrays).state() == one.state()


@given(st.lists(NUMBERS, min_size=1))
def test_the_range_is_that_of_all_numbers(arrays):
    every = np.concatenate(arrays)
    assert Range(float(every.min()), float(every.max())) == seen(*arrays).range()


@given(NUMBERS)
def test_a_state_survives_json(array):
    found = seen(array)
    again = MinMax.from_state(json.loads(json.dumps(found.state())))
    assert (found.range(), found.state()) == (again.range(), again.state())


def test_a_state_that_lacks_something_is_refused():
    with pytest.raises(KeyError, match="high"):
        MinMax.from_state({"low": 0.0})
