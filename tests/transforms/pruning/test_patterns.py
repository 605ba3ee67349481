"""N:M pruning keeps the largest of each group of neighbours, along the axis that layers sum over."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.errors import PassError, PipelineError
from graphopt.passes import PassContext
from graphopt.transforms.pruning import PruneNM, follows_n_m, n_m_layers
from graphopt.transforms.pruning.patterns import n_m_mask
from tests.transforms.harness import PROPERTY, model, transform
from tests.transforms.pruning.networks import lifted


@PROPERTY
@given(
    st.integers(0, 999),
    st.integers(1, 13),
    st.integers(0, 2),
    st.sampled_from([(1, 2), (2, 4), (1, 4), (3, 4), (4, 8)]),
)
def test_of_each_neighbours_the_largest_are_kept(seed, size, axis, pattern):
    n, m = pattern
    rng = np.random.default_rng(seed)
    weights = np.moveaxis(rng.integers(-4, 5, (2, 3, size)).astype(np.float32), -1, axis)
    kept = np.moveaxis(n_m_mask(weights, axis, n, m), axis, -1).reshape(6, size)
    rows = np.moveaxis(weights, axis, -1).reshape(6, size)
    for row, chosen in zip(rows, kept, strict=True):
        for start in range(0, size, m):
            part, taken = np.abs(row[start : start + m]), chosen[start : start + m]
            order = sorted(range(len(part)), key=lambda at: (-part[at], at))
            assert set(order[:n]) == set(np.flatnonzero(taken).tolist())
    assert follows_n_m(np.where(n_m_mask(weights, axis, n, m), weights, 0), axis, n, m)


@pytest.mark.parametrize(
    ("body", "shape", "axis"),
    [
        ("y = Conv (x, w)", (6, 8, 1, 1), 1),
        ("y = Conv <group = 2> (x, w)", (6, 4, 1, 1), 1),
        ("h = Flatten (x) y = MatMul (h, w)", (8, 6), 0),
        ("h = Flatten (x) y = Gemm (h, w)", (8, 6), 0),
        ("h = Flatten (x) y = Gemm <transB = 1> (h, w)", (6, 8), 1),
    ],
)
def test_the_axis_is_that_of_input_channels(body, shape, axis):
    rng = np.random.default_rng(0)
    proto = model(body, "float[2,8,1,1] x", "float[*] y", initializers={"w": rng.normal(size=shape).astype(np.float32)})
    outcome = transform(proto, PruneNM())
    assert {"zeroed": int(np.prod(shape)) // 2, "tensors": 1} == outcome.applied
    assert [True] == [follows for _node, follows in n_m_layers(outcome.ir.graph)]
    (value,) = outcome.ir.graph.initializers()
    left = value.array()
    assert left is not None
    assert follows_n_m(left, axis)
    assert not follows_n_m(left, 1 - axis)


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ("y = Conv <group = 8> (x, w)", (8, 1, 3, 3)),
        ("y = Conv (x, w)", (8, 3, 1, 1)),
        ("h = Flatten (x) y = MatMul (w, h)", (8, 8)),
        ("h = Flatten (x) a = MatMul (h, w) b = Gemm <transB = 1> (h, w) y = Add (a, b)", (8, 8)),
        ("h = Flatten (x) y = Add (h, w)", (8, 8)),
    ],
)
def test_what_stays(body, shape):
    """Fewer channels than neighbours, weights on the left, a weight along two axes, and no layer at all."""
    channels = 3 if shape[1] == 3 else 8
    spatial = 3 if len(shape) == 4 and shape[2] == 3 else 1
    rows = 8 if body.startswith("h") else 2
    weights = {"w": np.ones(shape, np.float32)}
    proto = model(body, f"float[{rows},{channels},{spatial},{spatial}] x", "float[*] y", initializers=weights)
    outcome = transform(proto, PruneNM())
    assert {} == outcome.applied


def test_layers_that_do_not_follow_are_named():
    weights = {"w": np.ones((8, 4), np.float32), "v": np.tile([[1.0], [0.0]], (2, 8)).astype(np.float32)}
    proto = model("h = MatMul (x, w) y = MatMul (h, v)", "float[2,8] x", "float[*] y", initializers=weights)
    graph = lifted(proto).graph
    assert [False, True] == [follows for _node, follows in n_m_layers(graph)]
    result = PruneNM(exclude=("w",)).run(graph, PassContext())
    assert not result.changed


@pytest.mark.parametrize(("n", "m"), [(0, 4), (4, 4), (5, 4)])
def test_patterns_that_make_no_sense(n, m):
    with pytest.raises(PipelineError, match=rf"prune-n-m: n is {n} and m is {m}, expected 1 <= n < m"):
        PruneNM(n, m)


def test_names_that_nothing_has_are_told():
    weights = {"w": np.ones((8, 4), np.float32)}
    proto = model("y = MatMul (x, w)", "float[2,8] x", "float[*] y", initializers=weights)
    with pytest.raises(PassError, match=r"prune-n-m: include is \['z'\], and no weight that can be pruned"):
        PruneNM(include=("z",)).run(lifted(proto).graph, PassContext())
