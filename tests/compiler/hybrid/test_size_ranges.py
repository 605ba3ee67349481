"""Sizes of inner values from those of inputs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.backends.tensorrt.profiles import InputRange, Profile
from graphopt.compiler.hybrid.size_ranges import SizeRanges
from graphopt.errors import ExecutionError
from graphopt.ir import DType, SymbolicDim, TensorType, Value

N, T = SymbolicDim("n"), SymbolicDim("t")


def value(name: str, *shape: int | SymbolicDim) -> Value:
    made = Value(name)
    made.type = TensorType(DType.FLOAT, shape)
    return made


def test_sizes_follow_from_names():
    ranges = SizeRanges([], Profile(sizes={"n": (1, 2, 8), "t": (4, 16, 64)}))
    made = ranges.profile([value("a", N, T * 2 + 1), value("b", 3, 4), value("c", N * T)])
    assert {"a": "1x9,2x33,8x129", "c": "4,32,512"} == {name: str(item) for name, item in made.shapes.items()}


def test_profiles_of_inputs_teach_the_names():
    shapes = {"x": InputRange((1, 3), (2, 3), (4, 3)), "inner": InputRange((5,), (6,), (7,))}
    ranges = SizeRanges([value("x", N, 3)], Profile(shapes))
    made = ranges.profile([value("x", N, 3), value("y", N + 1), value("inner", T)])
    assert {"x": "1x3,2x3,4x3", "y": "2,3,5", "inner": "5,6,7"} == {
        name: str(item) for name, item in made.shapes.items()
    }


@given(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), st.integers(-3, 3), st.integers(0, 30))
def test_every_size_in_between_is_within(sizes, factor, offset):
    """Of sizes that grow or shrink with a dimension."""
    least, usual, most = sorted(sizes)
    size = N * factor + (offset + 27)
    ranges = SizeRanges([], Profile(sizes={"n": (least, usual, most)}))
    if isinstance(size, int):
        return
    [found] = ranges.profile([value("a", size)]).shapes.values()
    for n in range(least, most + 1):
        assert found.least[0] <= size.evaluate({"n": n}) <= found.most[0]


@pytest.mark.parametrize(
    ("inputs", "stated", "reason"),
    [
        (
            [],
            Profile(sizes={"n": (1, 2, 3)}),
            r"'a' has sizes that are not fixed \(t, u\); .* --dim t=MIN,USUAL,MAX --dim u=",
        ),
        (
            [value("x", N)],
            Profile({"x": InputRange((1, 1), (1, 1), (1, 1))}),
            "input 'x' has 1 axes, its profile has 2",
        ),
        (
            [value("x", N)],
            Profile({"x": InputRange((1,), (2,), (3,))}, sizes={"n": (1, 2, 4)}),
            "input 'x': its profile says 1,2,3 for 'n', which is 1,2,4 elsewhere",
        ),
    ],
)
def test_what_is_not_stated_or_does_not_fit(inputs, stated, reason):
    with pytest.raises(ExecutionError, match=reason):
        SizeRanges(inputs, stated).profile([value("a", N, T, SymbolicDim("u"))])
