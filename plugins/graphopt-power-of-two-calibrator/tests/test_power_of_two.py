"""The laws of a calibrator, and that its ranges are powers of two."""

import json
import math

import numpy as np
import pytest
from graphopt_power_of_two_calibrator.power_of_two import PowerOfTwo
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


def seen(arrays, outside=0.0):
    found = PowerOfTwo(outside)
    for array in arrays:
        found.observe(array)
    return found


def test_it_is_a_calibrator():
    assert isinstance(PowerOfTwo(), Calibrator)


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
    found = seen(batches, 0.25)
    again = PowerOfTwo.from_state(json.loads(json.dumps(found.state())))
    assert (found.state(), found.range()) == (again.state(), again.range())
    again.observe(batches[0])
    found.observe(batches[0])
    assert found.state() == again.state()


@given(BATCHES, st.floats(0, 0.9))
def test_the_end_is_the_smallest_power_that_holds_enough(batches, outside):
    found = seen(batches, outside).range()
    numbers = np.abs(np.concatenate([np.float64(item).reshape(-1) for item in batches]))
    allowed = math.floor(outside * numbers.size)
    assert -found.low == found.high
    if found.high < 2.0**1023:
        assert (numbers > found.high).sum() <= allowed
    if found.high:
        assert math.frexp(found.high)[0] == 0.5
        assert (numbers > found.high / 2).sum() > allowed


def test_zero_alone_stays_zero():
    assert Range(0.0, 0.0) == seen([np.zeros(3, np.float32)]).range()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outside": 1}, "outside is 1, expected a share from 0 to less than 1"),
        ({"outside": float("nan")}, "outside is nan, expected a share from 0"),
        ({"outsid": 0.1}, "has no option 'outsid'; did you mean 'outside'?"),
    ],
)
def test_wrong_options_are_one_line(options, message):
    with pytest.raises(CalibrationError) as caught:
        graphopt.calibrate(model(), [], calibrator="power-of-two", options=options)
    assert message in str(caught.value)


def model():
    b = GraphBuilder(opset=17)
    b.output(b.Relu(b.input("x", DType.FLOAT, ["n"])), "y", DType.FLOAT)
    return b.build()


def test_a_model_is_calibrated_without_its_outliers():
    """The whole way: found by its entry point, resumed from a table."""
    numbers = np.linspace(-1.5, 1.5, 10_001, dtype=np.float32)
    numbers[5000] = 1000.0
    halves = [{"x": numbers[:5000]}, {"x": numbers[5000:]}]
    how = {"calibrator": "power-of-two", "options": {"outside": 0.01}}
    table = graphopt.calibrate(model(), halves, **how)
    assert Range(-2.0, 2.0) == table["x"]
    first = graphopt.calibrate(model(), halves[:1], **how)
    assert table == graphopt.calibrate(model(), halves[1:], resume=first, **how)
