"""What all built-in calibrators promise: runs that are merged are one run, states survive, memory is bounded."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from graphopt.builtin_plugin import builtin_plugins
from graphopt.passes import Calibrator
from graphopt.transforms.quantization.calibrators import (
    Auto,
    Entropy,
    MeanSquaredError,
    MinMax,
    MovingAverage,
    Percentile,
)

KINDS: dict[str, Callable[[], Any]] = {
    "auto": functools.partial(Auto, bins=64),
    "entropy": functools.partial(Entropy, bits=4, bins=64),
    "entropy, symmetric": functools.partial(Entropy, bits=4, symmetric=True, bins=64),
    "min-max": MinMax,
    "moving-average": MovingAverage,
    "mse": functools.partial(MeanSquaredError, bins=64),
    "mse, symmetric": functools.partial(MeanSquaredError, bits=4, symmetric=True, bins=64),
    "percentile": functools.partial(Percentile, 90.0, bins=64),
}


def floats(width):
    return hnp.arrays(
        np.dtype(f"float{width}"),
        hnp.array_shapes(min_dims=0, max_side=8),
        elements=st.floats(allow_nan=False, allow_infinity=False, width=width),
    )


BATCHES = st.one_of(st.lists(floats(32), min_size=2, max_size=5), st.lists(floats(64), min_size=2, max_size=5))
MODEST = st.lists(
    hnp.arrays(np.float32, st.integers(1, 30), elements=st.floats(-100, 100, width=32)), min_size=1, max_size=4
)


def seen(kind, arrays):
    found = KINDS[kind]()
    for array in arrays:
        found.observe(array)
    return found


def test_all_are_registered_and_are_calibrators():
    names = builtin_plugins(discover=False).load().calibrators
    assert sorted({kind.split(",")[0] for kind in KINDS}) == sorted(names)
    for name in names:
        kind = names.find(name)
        assert isinstance(kind, type)
        assert isinstance(kind(), Calibrator)


@pytest.mark.parametrize("kind", KINDS)
@given(batches=BATCHES, data=st.data())
def test_merged_runs_are_one_run_on_the_union(kind, batches, data):
    """By their states, wherever the data is cut and in whatever order it comes, over all floats."""
    cut = data.draw(st.integers(0, len(batches)))
    one, two = seen(kind, batches[:cut]), seen(kind, batches[cut:])
    expected = seen(kind, data.draw(st.permutations(batches))).state()
    one.merge(two)
    assert expected == one.state()


@pytest.mark.parametrize("kind", KINDS)
@given(batches=MODEST)
def test_a_state_survives_json_and_goes_on(kind, batches):
    found = seen(kind, batches)
    state = json.loads(json.dumps(found.state()))
    again = type(found).from_state(state)
    assert (found.state(), found.range()) == (again.state(), again.range())
    again.observe(batches[0])
    found.observe(batches[0])
    assert found.state() == again.state()


@pytest.mark.parametrize("kind", KINDS)
@given(batches=MODEST)
def test_a_range_has_no_more_than_what_was_seen(kind, batches):
    """Zero apart, which every scheme can represent; and numbers of one kind only have that as their range."""
    every = np.concatenate(batches).astype(np.float64)
    found = seen(kind, batches).range()
    assert every.min() <= found.low <= found.high <= every.max()
    assert (7.25, 7.25) == ((same := seen(kind, [np.full(5, 7.25, np.float32)] * 3).range()).low, same.high)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_does_not_grow_with_the_number_of_batches(kind):
    rng = np.random.default_rng(0)
    found = KINDS[kind]()
    sizes = []
    for scale in range(1, 200):
        found.observe((rng.standard_normal(500) * scale).astype(np.float32))
        sizes.append(len(json.dumps(found.state())))
    assert max(sizes[100:]) <= sizes[50] * 1.5 + 100
    assert max(sizes) < 10_000


@pytest.mark.parametrize("kind", KINDS)
def test_extremes_are_enough_where_a_calibrator_says_so(kind):
    """What the runtime reduces inside the graph is the whole truth."""
    made = KINDS[kind]()
    if not getattr(made, "extremes_suffice", False):
        assert hasattr(made, "histogram")
        return
    rng = np.random.default_rng(0)
    batches = [rng.standard_normal(100).astype(np.float32) for _ in range(5)]
    ends = [np.array([batch.min(), batch.max()]) for batch in batches]
    assert seen(kind, batches).state() == seen(kind, ends).state()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Percentile(0), "percentile is 0, expected a number above 0 and at most 100"),
        (lambda: Percentile(float("nan")), "percentile is nan, expected a number above 0"),
        (lambda: Percentile(bins=100), "bins is 100, expected a power of two from 16 on"),
        (lambda: Entropy(bits=1), "bits is 1, expected a whole number from 2 to 16"),
        (lambda: MeanSquaredError(bits=2.5), "bits is 2.5, expected a whole number"),  # type: ignore[arg-type]  # the point of it
        (lambda: Auto(clipping=-1), "clipping is -1, expected a finite number, 0 or more"),
    ],
)
def test_options_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
