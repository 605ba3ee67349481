"""Which layer gives up something first, and what belongs together when one does."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.compiler.pruning.amounts import Amount
from graphopt.compiler.pruning.levels import levels_by_sensitivity
from graphopt.compiler.pruning.sensitivity import Curve, SweepPoint
from graphopt.compiler.pruning.units import find_units
from graphopt.errors import PruningError
from graphopt.transforms.pruning import PruneChannels
from tests.compiler.pruning.models import chain
from tests.transforms.harness import PROPERTY, model
from tests.transforms.pruning.networks import lifted

PARTS = (0.25, 0.5, 0.75)


@st.composite
def curves(draw):
    """Curves of up to four units: more goes, more is saved or the same; noise is anything."""
    found = []
    for number in range(draw(st.integers(1, 4))):
        points, left = [], 1.0
        for part in PARTS:
            left -= draw(st.sampled_from([0.0, 0.01, 0.05, 0.1]))
            noise = draw(st.one_of(st.floats(0, 10), st.sampled_from([0.0, math.inf])))
            points.append(SweepPoint(part, left, noise, {}))
        found.append(Curve((f"u{number}",), tuple(points)))
    return found


@PROPERTY
@given(curves(), st.sampled_from([0.25, 0.6, 1.0]))
def test_each_step_takes_more_from_one_unit(found, most):
    """No unit gets anything back, none loses more than is allowed, and what saves nothing is no step."""
    levels = levels_by_sensitivity(found, most=most)
    for before, after in itertools.pairwise([{}, *levels]):
        changed = [name for name in after if after[name] != before.get(name, 0.0)]
        assert 1 == len(changed)
        assert after[changed[0]] > before.get(changed[0], 0.0)
        assert set(before) <= set(after)
    for name, part in (levels[-1] if levels else {}).items():
        curve = next(item for item in found if item.units == (name,))
        assert 0 < part <= most
        assert any(point.left < 1 and point.noise < math.inf for point in curve.points)


def test_what_costs_least_goes_first():
    """By noise for what is saved: not by noise, not by what is saved."""
    cheap = Curve(("cheap",), (SweepPoint(0.5, 0.9, 0.001, {}),))
    large = Curve(("large",), (SweepPoint(0.5, 0.5, 0.003162, {}),))
    dear = Curve(("dear",), (SweepPoint(0.5, 0.9, 0.1, {}),))
    order = [
        next(iter(set(b) - set(a)))
        for a, b in itertools.pairwise([{}, *levels_by_sensitivity([dear, cheap, large])[1::2]])
    ]
    assert ["large", "cheap", "dear"] == order


def test_a_bad_step_before_a_good_one_is_taken_with_it():
    """The lower convex hull: half of it costs as much as all of it."""
    curve = Curve(("u",), (SweepPoint(0.25, 0.9, 0.1, {}), SweepPoint(0.75, 0.5, 0.1, {})))
    assert [{"u": 0.375}, {"u": 0.75}] == levels_by_sensitivity([curve])


def test_groups_that_one_weight_makes_are_one_unit():
    """Heads of queries and keys come from one packed matrix; no name tells them apart."""
    proto = model(
        """qkv = MatMul (x, packed)
           q, k = Split <axis = 1, num_outputs = 2> (qkv)
           a = Relu (q) b = Sigmoid (k)
           c = MatMul (a, u) d = MatMul (b, v) y = Add (c, d)""",
        "float[5,8] x",
        "float[5,4] y",
        initializers={"packed": ones(8, 32), "u": ones(16, 4), "v": ones(16, 4)},
    )
    owner = lifted(proto)
    found = find_units(owner.graph, Amount("channels", "ratio", 0.5))
    assert [("packed", ("packed",), 32)] == [(unit.name, unit.weights, unit.size) for unit in found.units]
    assert {"it is an axis of an input", "it is an axis of an output"} == {item.reason for item in found.frozen}


def ones(*shape):
    return np.ones(shape, np.float32)


def test_units_are_those_that_the_pass_prunes():
    owner = lifted(chain(layers=4))
    units = find_units(owner.graph, Amount("channels", "auto"), exclude=("w1",))
    assert ["w0", "w2"] == [unit.name for unit in units.units]
    assert ("w1",) == units.left_out
    for unit in units.units:
        assert PruneChannels(parts=tuple(f"{name}=0.5" for name in unit.weights)).parts
    assert ["w0", "w1", "w2", "w3"] == [
        unit.name for unit in find_units(owner.graph, Amount("magnitude", "auto")).units
    ]
    with pytest.raises(PruningError, match="all that can be pruned is left out: w0, w1, w2"):
        find_units(owner.graph, Amount("channels", "auto"), exclude=("w?",)).check(Amount("channels", "auto"))
