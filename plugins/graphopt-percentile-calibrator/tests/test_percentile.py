"""The laws of a calibrator, how close the percentiles are, and how much memory they take."""

import json
import math

import numpy as np
import pytest
from graphopt_percentile_calibrator.percentile import Percentile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import graphopt
from graphopt.errors import CalibrationError
from graphopt.ir import DType, GraphBuilder
from graphopt.passes import Calibrator, Range


def floats(width):
    return hnp.arrays(
        np.dtype(f"float{width}"),
        hnp.array_shapes(min_dims=0, max_side=8),
        elements=st.floats(allow_nan=False, allow_infinity=False, width=width),
    )


BATCHES = st.one_of(st.lists(floats(32), min_size=2, max_size=6), st.lists(floats(64), min_size=2, max_size=6))


def seen(arrays, percentile=99.0, bins=32):
    found = Percentile(percentile, bins)
    for array in arrays:
        found.observe(array)
    return found


def test_it_is_a_calibrator():
    assert isinstance(Percentile(), Calibrator)


@given(BATCHES, st.data())
def test_merged_runs_are_one_run_on_the_union(batches, data):
    """Count by count, wherever the data is cut and in whatever order it comes, over the whole range of floats."""
    cut = data.draw(st.integers(0, len(batches)))
    one, two = seen(batches[:cut]), seen(batches[cut:])
    expected = seen(data.draw(st.permutations(batches))).state()
    one.merge(two)
    assert expected == one.state()


@given(BATCHES)
def test_a_state_survives_json(batches):
    found = seen(batches)
    again = Percentile.from_state(json.loads(json.dumps(found.state())))
    assert (found.state(), found.range()) == (again.state(), again.range())
    again.observe(batches[0])
    found.observe(batches[0])
    assert found.state() == again.state()


@given(BATCHES, st.floats(50, 100))
def test_ends_are_percentiles_to_a_bin(batches, percentile):
    """Never narrower than the numbers of those ranks, and wider by one bin at most."""
    found = seen(batches, percentile)
    ordered = np.sort(np.concatenate([np.float64(item).reshape(-1) for item in batches]))
    cut = math.floor((100 - percentile) / 200 * ordered.size)
    width = math.ldexp(1.0, found.histogram.exponent)
    low, high = found.range().low, found.range().high
    assert low <= ordered[cut]
    assert ordered[cut] - low <= width
    assert ordered[-1 - cut] <= high
    assert high - ordered[-1 - cut] <= width


@pytest.mark.parametrize("percentile", [90.0, 99.0, 99.9, 100.0])
def test_it_is_close_to_numpy(percentile):
    """Of a million numbers in a hundred batches, with outliers."""
    rng = np.random.default_rng(0)
    batches = [rng.standard_t(4, 10_000).astype(np.float32) for _ in range(100)]
    found = seen(batches, percentile, bins=2048)
    expected = np.percentile(np.concatenate(batches), [50 - percentile / 2, 50 + percentile / 2])
    width = math.ldexp(1.0, found.histogram.exponent)
    np.testing.assert_allclose([found.range().low, found.range().high], expected, atol=width)


@given(BATCHES)
def test_memory_is_bounded(batches):
    """Never more bins than were allowed, and at least half as many where the numbers need them."""
    found = seen(batches, bins=16).histogram
    assert found.counts.size <= 16
    assert found.counts.sum() == sum(item.size for item in batches)


def test_memory_does_not_grow_with_the_number_of_batches():
    found = Percentile()
    sizes = set()
    for scale in range(1, 200):
        found.observe(np.linspace(-scale, scale, 1000, dtype=np.float32))
        sizes.add(found.histogram.counts.size)
    assert max(sizes) <= 2048
    assert min(sizes) >= 1024 - 1


def test_one_number_alone_is_its_range():
    assert Range(-3.5, -3.5) == seen([np.float32(-3.5)]).range()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"percentile": 0}, "percentile is 0, expected a number above 0 and at most 100"),
        ({"percentile": float("nan")}, "percentile is nan, expected a number above 0"),
        ({"bins": 100}, "bins is 100, expected a power of two from 16 on"),
        ({"bins": 8}, "bins is 8, expected a power of two from 16 on"),
        ({"percentil": 99}, "has no option 'percentil'; did you mean 'percentile'?"),
    ],
)
def test_wrong_options_are_one_line(options, message):
    with pytest.raises(CalibrationError) as caught:
        graphopt.calibrate(model(), [], calibrator="percentile", options=options)
    assert message in str(caught.value)


def model():
    b = GraphBuilder(opset=17)
    b.output(b.Relu(b.input("x", DType.FLOAT, ["n"])), "y", DType.FLOAT)
    return b.build()


def test_a_model_is_calibrated_without_its_outliers():
    """The whole way: found by its entry point, resumed from a table."""
    numbers = np.linspace(-1, 1, 10_001, dtype=np.float32)
    numbers[5000] = 1000.0
    options = {"percentile": 99.0, "bins": 1 << 16}
    halves = [{"x": numbers[:5000]}, {"x": numbers[5000:]}]
    table = graphopt.calibrate(model(), halves, calibrator="percentile", options=options)
    assert abs(table["x"].high - 0.99) < 0.03
    assert abs(table["x"].low + 0.99) < 0.03
    first = graphopt.calibrate(model(), halves[:1], calibrator="percentile", options=options)
    assert table == graphopt.calibrate(model(), halves[1:], calibrator="percentile", options=options, resume=first)
