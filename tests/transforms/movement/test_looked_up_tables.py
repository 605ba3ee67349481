"""Tables take the form in which the numbers that are looked up in them are wanted."""

from __future__ import annotations

import re

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
    model,
    run,
    transform,
)

STEP = Canonicalize()


def numbers(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def places(high, *shape):
    return np.random.default_rng(1).integers(-high, high, shape)


def test_places_along_the_first_axis_need_no_axis_of_their_own():
    """As torch.export spells ``table[index]``."""
    proto = model(
        "u = Unsqueeze(i, axes) y = GatherND(x, u)", "float[5,3] x, int64[2,4] i", initializers={"axes": np.array([-1])}
    )
    outcome = transform(proto, STEP)
    assert (["Gather"], {"gather-along-first-axis": 1}) == (outcome.ops, outcome.applied)
    feeds = {"x": numbers(5, 3), "i": places(5, 2, 4)}
    assert_same_bits(run(proto, feeds), run(outcome.after, feeds))


def test_constant_places_are_reshaped():
    proto = model("y = GatherND(x, i)", "float[5,3] x", initializers={"i": places(5, 2, 4, 1)})
    assert_exact(proto, STEP, ["Gather"], {"gather-along-first-axis": 1})


@given(
    table=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    looked_up=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    data=st.data(),
)
@PROPERTY
def test_transposed_lookups_give_the_same_numbers(table, looked_up, data):
    """Any order; where the axes of the places are taken apart, nothing happens."""
    axis = data.draw(st.integers(0, len(table) - 1))
    order = data.draw(st.permutations(range(len(table) - 1 + len(looked_up))))
    proto = model(
        f"g = Gather<axis = {axis}>(c, i) t = Transpose<perm = {list(order)}>(g) y = Mul(t, x)",
        "float[1] x",
        initializers={"c": numbers(*table), "i": places(table[axis], *looked_up)},
    )
    outcome = transform(proto, STEP)
    feeds = {"x": np.ones(1, np.float32)}
    assert_same_bits(run(proto, feeds), run(outcome.after, feeds))
    side_by_side = list(range(axis, axis + len(looked_up)))
    first = list(order).index(axis)
    if list(order)[first : first + len(looked_up)] == side_by_side:
        assert "Transpose" not in outcome.ops


@given(
    table=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    looked_up=st.lists(st.integers(1, 4), min_size=1, max_size=2),
    data=st.data(),
)
@PROPERTY
def test_reshaped_lookups_give_the_same_numbers(table, looked_up, data):
    """Axes before, of and after the places are each cut or joined anew, with ones anywhere."""
    axis = data.draw(st.integers(0, len(table) - 1))
    made = [*table[:axis], *looked_up, *table[axis + 1 :]]
    total = int(np.prod(made))
    first = data.draw(st.sampled_from([size for size in range(1, total + 1) if total % size == 0]))
    shape = [first, 1, total // first] if data.draw(st.booleans()) else [1, first, total // first]
    proto = model(
        f"g = Gather<axis = {axis}>(c, i) t = Reshape(g, shape) y = Mul(t, x)",
        "float[1] x",
        initializers={"c": numbers(*table), "i": places(table[axis], *looked_up), "shape": np.array(shape)},
    )
    outcome = transform(proto, STEP)
    feeds = {"x": np.ones(1, np.float32)}
    assert_same_bits(run(proto, feeds), run(outcome.after, feeds))


def test_relative_positions_of_several_layers_share_their_places():
    """As MaxViT's come from torch.export: places that all layers share are reshaped once, and the file does not grow."""
    layer = "g{0} = GatherND(c{0}, i) t{0} = Transpose<perm = [1, 0]>(g{0}) r{0} = Reshape(t{0}, shape)"
    constants = {"i": places(729, 38416, 1), "shape": np.array([1, 4, 196, 196])}
    constants |= {f"c{index}": numbers(729, 4) + index for index in range(3)}
    body = " ".join(layer.format(index) for index in range(3))
    proto = model(f"{body} y = Sum(r0, r1, r2, x)", "float[1] x", initializers=constants)
    outcome = transform(proto, STEP)
    assert ["Gather", "Gather", "Gather", "Sum"] == outcome.ops
    assert {"gather-along-first-axis": 3, "lay-out-table": 6} == outcome.applied
    assert len(outcome.after.SerializeToString()) <= len(proto.SerializeToString())
    feeds = {"x": np.ones(1, np.float32)}
    assert_same_bits(run(proto, feeds), run(outcome.after, feeds))


@pytest.mark.parametrize(
    ("body", "inputs"),
    [
        ("y = GatherND(x, two)", "float[5,2] x"),  # places say two axes
        ("y = GatherND<batch_dims = 1>(x, batch)", "float[5,2] x"),
        ("u = Unsqueeze(j, first) y = GatherND(x, u)", "float[5,2] x, int64[2] j"),
        ("g = Gather(c, i) y = Transpose<perm = [0, 2, 1]>(g)", "float[1] x"),  # axes of the places are taken apart
        ("g = Gather(c, i) y = Transpose<perm = [1, 0, 2]>(g)", "float[1] x"),  # they change their order
        ("g = Gather(c, i) y = Transpose<perm = [2, 0, 1]>(g) z = Neg(g)", "float[1] x"),
        ("g = Gather(c, j) y = Reshape(g, shape)", "int64[2] j"),
        ("g = Gather(big, i) h = Gather(big, k) y = Transpose<perm = [2, 0, 1]>(g) z = Neg(h)", "float[1] x"),
    ],
    ids=["two axes", "batch", "first axis", "apart", "turned", "read twice", "computed places", "shared table"],
)
def test_other_lookups_stay(body, inputs):
    """Near misses: each differs by one thing."""
    constants = {
        "two": places(2, 4, 2), "batch": places(2, 5, 1), "first": np.array([0]), "c": numbers(6, 2),
        "i": places(6, 2, 3), "k": places(6, 2), "shape": np.array([1, 2, 2]), "big": numbers(600, 2),
    }  # fmt: skip
    words = re.findall(r"\w+", body)
    used = {name: array for name, array in constants.items() if name in words}
    outputs = "float[*] y, float[*] z" if "z" in words else "float[*] y"
    assert_untouched(model(body, inputs, outputs, initializers=used), STEP)
