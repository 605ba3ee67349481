"""Slices that take everything go, slices of different axes merge."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.transforms.canonicalize import Canonicalize
from tests.transforms.harness import (
    PROPERTY,
    assert_exact,
    assert_same_bits,
    assert_untouched,
    feeds_for,
    model,
    run,
    transform,
)

STEP = Canonicalize()
END = (1 << 63) - 1


def ints(**arrays):
    return {name: np.array(numbers, np.int64) for name, numbers in arrays.items()}


@pytest.mark.parametrize(
    ("shape", "start", "end", "step", "gone"),
    [
        ("2,3", 0, 2, 1, True),
        ("2,3", 0, END, 1, True),
        ("2,3", -2, 5, 1, True),
        ("2,3", -END, END, 1, True),
        ("N,3", 0, END, 1, True),
        ("N,3", 0, (1 << 31) - 1, 1, True),
        ("0,3", 0, 0, 1, True),
        ("2,3", 0, 1, 1, False),
        ("2,3", 1, 2, 1, False),
        ("2,3", 0, -1, 1, False),
        ("2,3", 0, 2, 2, False),
        ("2,3", END, -END, -1, False),
        ("N,3", 0, 2, 1, False),
        ("N,3", -5, END, 1, False),
        ("N,3", 1, END, 1, False),
        ("N,3", 0, -1, 1, False),
    ],
)
@pytest.mark.parametrize("axis", [0, -2])
def test_slice_that_takes_all_goes(shape, start, end, step, gone, axis):
    constants = ints(s=[start], e=[end], a=[axis], p=[step])
    proto = model("t = Slice(x, s, e, a, p) y = Exp(t)", f"float[{shape}] x", initializers=constants)
    outcome = transform(proto, STEP)
    assert (["Exp"] if gone else ["Slice", "Exp"]) == outcome.ops
    feeds = feeds_for(proto, {"N": 4})
    assert_same_bits(run(proto, feeds), run(outcome.after, feeds))


def test_axes_and_steps_are_optional():
    proto = model("t = Slice(x, s, e) y = Exp(t)", initializers=ints(s=[0, 0], e=[2, 3]))
    assert_exact(proto, STEP, ["Exp"], {"eliminate-slice": 1})


@pytest.mark.parametrize("opset", [7, 9])
def test_bounds_as_attributes(opset):
    proto = model("t = Slice<starts=[0], ends=[9]>(x) y = Exp(t)", opset=opset)
    assert_exact(proto, STEP, ["Exp"], {"eliminate-slice": 1})
    proto = model(
        "t = Slice<starts=[1], ends=[2], axes=[0]>(x) y = Slice<starts=[0], ends=[2], axes=[1]>(t)", opset=opset
    )
    assert_exact(proto, STEP, ["Slice"], {"merge-slices": 1})


def test_computed_bounds_stay():
    assert_untouched(model("y = Slice(x, s, e)", "float[2,3] x, int64[1] s, int64[1] e"), STEP)


BODY = "t = Slice(x, s, e, a) y = Slice(t, s, e, b)"


CHAIN = "t = Slice(x, s, e, a) y = Slice(t, u, v, a, w)"
LARGEST = (1 << 63) - 1


@pytest.mark.parametrize("first", [(0, 3), (1, 4), (2, 99), (1, -1), (0, LARGEST)])
@pytest.mark.parametrize("second", [(0, 2), (1, 2), (1, LARGEST), (3, 4)])
@pytest.mark.parametrize("size", [0, 1, 3, 6])
def test_slices_of_one_axis_are_merged_whatever_its_size(first, second, size):
    more = ints(s=[first[0]], e=[first[1]], u=[second[0]], v=[second[1]], a=[0], w=[1])
    proto = model(CHAIN, "float[N,2] x", "float[M,2] y", initializers=more)
    outcome = transform(proto, STEP)
    if first[1] < 0 and second[1] < LARGEST:
        assert not outcome.applied
    else:
        assert 1 == len(outcome.ops)
    feeds = {"x": np.arange(2 * size, dtype=np.float32).reshape(size, 2)}
    assert_same_bits(run(proto, feeds), run(outcome.after, feeds))


@pytest.mark.parametrize(
    ("first", "second", "step"),
    [((-3, 4), (0, 2), 1), ((1, 4), (-2, LARGEST), 1), ((1, 4), (0, -1), 1), ((0, 4), (0, 3), 2)],
)
def test_slices_of_one_axis_that_count_from_the_back_or_in_steps_stay(first, second, step):
    more = ints(s=[first[0]], e=[first[1]], u=[second[0]], v=[second[1]], a=[0], w=[step])
    assert_untouched(model(CHAIN, "float[N,2] x", "float[M,2] y", initializers=more), STEP)


def test_negative_axes_of_unknown_rank_are_not_merged():
    assert_untouched(model(BODY, "float[*] x", initializers=ints(s=[1], e=[3], a=[0], b=[-1])), STEP)


def test_shared_slice_is_not_merged():
    proto = model(
        f"{BODY} z = Exp(t)",
        "float[4,5] x",
        "float[2,2] y, float[2,5] z",
        initializers=ints(s=[1], e=[3], a=[0], b=[1]),
    )
    assert_untouched(proto, STEP)


BOUNDS = st.sampled_from([-END, -4, -1, 0, 1, 3, END])


@PROPERTY
@given(
    shape=st.lists(st.integers(0, 4), min_size=2, max_size=3),
    slices=st.lists(
        st.tuples(BOUNDS, BOUNDS, st.integers(-2, 1), st.sampled_from([1, 1, 2, -1, -2])), min_size=1, max_size=3
    ),
    dynamic=st.booleans(),
)
def test_any_chain_of_slices_keeps_its_result(shape, slices, dynamic):
    constants: dict[str, list[int]] = {}
    body, last = [], "x"
    for index, (start, end, axis, step) in enumerate(slices):
        constants |= {f"s{index}": [start], f"e{index}": [end], f"a{index}": [axis], f"p{index}": [step]}
        body.append(f"t{index} = Slice({last}, s{index}, e{index}, a{index}, p{index})")
        last = f"t{index}"
    stated = ",".join(f"D{i}" if dynamic else str(size) for i, size in enumerate(shape))
    proto = model(" ".join([*body, f"y = Exp({last})"]), f"float[{stated}] x", initializers=ints(**constants))
    feeds = feeds_for(proto, {f"D{i}": size for i, size in enumerate(shape)})
    outcome = transform(proto, STEP)
    assert_same_bits(run(proto, feeds), run(outcome.after, feeds))
