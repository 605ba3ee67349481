"""Magnitude pruning zeroes exactly the smallest weights, and each only once."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.errors import PassError, PipelineError
from graphopt.ir import Constant, Graph, Model
from graphopt.numerics import Lossy
from graphopt.passes import PassContext
from graphopt.rewriting import Applications
from graphopt.transforms.pruning import PruneMagnitude
from graphopt.transforms.pruning.magnitude import smallest_magnitudes
from tests.transforms.harness import PROPERTY, model, transform


def weights_after(array, sparsity, ctx=None):
    """What is left of one constant, and what the pass counted."""
    owner = Model(Graph("g"), {"": 21})
    value = owner.graph.add_constant(Constant(np.asarray(array)), "w")
    result = PruneMagnitude(sparsity).run(owner.graph, ctx or PassContext())
    again = PruneMagnitude(sparsity).run(owner.graph, PassContext()) if ctx is None else None
    assert again is None or not again.changed
    assert value.const is not None
    return value.const.numpy(), result


@pytest.mark.parametrize(
    ("weights", "sparsity", "expected", "zeroed"),
    [
        ([[1, -2], [3, -4]], 0.5, [[0, 0], [3, -4]], 2),
        ([[1, -2], [3, -4]], 0.49, [[0, -2], [3, -4]], 1),
        ([[1, -2], [3, -4]], 0.0, [[1, -2], [3, -4]], 0),
        ([[1, -2], [3, -4]], 0.99, [[0, 0], [0, -4]], 3),
        ([[1, -1], [1, -1]], 0.5, [[0, 0], [1, -1]], 2),
        ([[0, 0], [0, 5]], 0.5, [[0, 0], [0, 5]], 0),
        ([[0, 3], [2, 5]], 0.5, [[0, 3], [0, 5]], 1),
        ([[np.nan, 3], [np.inf, -np.inf]], 0.5, [[np.nan, 0], [0, -np.inf]], 2),
        ([[np.nan, np.nan], [np.inf, np.nan]], 0.5, [[0, np.nan], [0, np.nan]], 2),
    ],
)
def test_the_smallest_become_zero(weights, sparsity, expected, zeroed):
    found, result = weights_after(np.array(weights, np.float32), sparsity)
    np.testing.assert_array_equal(found, np.array(expected, np.float32))
    assert (zeroed > 0, zeroed) == (result.changed, result.stats["zeroed"])


def test_negative_zeros_are_left_alone():
    """They are zero already, and a pass that reports no change must not change a bit."""
    weights = np.array([[-0.0, 1.0]], np.float32)
    found, result = weights_after(weights, 0.5)
    assert (weights.tobytes(), False) == (found.tobytes(), result.changed)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_float_types(dtype):
    found, _ = weights_after(np.array([[4, -1], [2, 3]], dtype), 0.5)
    assert (np.dtype(dtype), [[4, 0], [0, 3]]) == (found.dtype, found.astype(np.float64).tolist())


@pytest.mark.parametrize(
    "array", [np.array([1.0, 2.0], np.float32), np.array([[1, 2]], np.int8), np.zeros((0, 3), np.float32)]
)
def test_vectors_integers_and_empty_tensors_stay(array):
    found, result = weights_after(array, 0.9)
    assert (array.tobytes(), False) == (found.tobytes(), result.changed)


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 1.5, float("nan")])
def test_sparsity_is_a_fraction_below_one(sparsity):
    with pytest.raises(PipelineError, match=r"prune-magnitude: sparsity is .*, expected a number in \[0, 1\)"):
        PruneMagnitude(sparsity)


def test_it_is_declared_lossy():
    assert isinstance(PruneMagnitude().declared_numerics, Lossy)


def test_subgraphs_shared_weights_and_defaults_of_inputs():
    """Weights of branches are pruned, shared ones once, those that callers may override not at all."""
    branches = "then_branch = t () => (float[2,2] p) { p = MatMul(x, w) }, else_branch = e () => (float[2,2] q) { q = MatMul(w, d) }"
    body = f"y = If (c) <{branches}>"
    constants = {name: np.array([[1, 2], [3, 4]], np.float32) for name in "wd"}
    proto = model(body, "float[2,2] x, bool c, float[2,2] d", "float[2,2] y", initializers=constants)
    outcome = transform(proto, PruneMagnitude(0.5))
    assert {"zeroed": 2, "tensors": 1} == outcome.applied
    left = {item.name: np.frombuffer(item.raw_data, np.float32).tolist() for item in outcome.after.graph.initializer}
    assert {"w": [0, 0, 3, 4], "d": [1, 2, 3, 4]} == left


def test_each_tensor_is_one_numbered_application():
    applications = Applications(limit=0)
    found, result = weights_after(np.ones((2, 2), np.float32), 0.5, PassContext(applications=applications))
    assert (4, False) == (int(np.count_nonzero(found)), result.changed)
    applications = Applications()
    weights_after(np.ones((2, 2), np.float32), 0.5, PassContext(applications=applications))
    assert [("prune-magnitude", "w")] == [(item.rule, item.site) for item in applications.log]


@PROPERTY
@given(
    values=st.lists(st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 2.0, np.inf, np.nan]), min_size=1, max_size=30),
    data=st.data(),
)
def test_choice_is_that_of_a_stable_sort(values, data):
    weights = np.array(values, np.float32)
    count = data.draw(st.integers(0, weights.size))
    expected = np.zeros(weights.size, bool)
    expected[np.argsort(np.abs(weights), kind="stable")[:count]] = True
    np.testing.assert_array_equal(smallest_magnitudes(weights, count), expected)


# -- scopes -----------------------------------------------------------------------------------------------------------------

SCOPES = {
    "w": np.array([[1, 2, 3, 4]] * 4, np.float32),
    "v": np.array([[10, 20, 30, 40]] * 4, np.float32),
    "k": np.full((4, 4, 1, 1), 0.5, np.float32),
    "b": np.full((1, 4), 0.1, np.float32),
}
LAYERS = (
    "c = Conv (x, k) f = Flatten (c) h = MatMul (f, w) a = Add (h, b) y = MatMul (a, v)",
    "float[2,4,1,1] x",
    "float[2,4] y",
)


def zeros(**options):
    outcome = transform(model(*LAYERS, initializers=SCOPES), PruneMagnitude(**options))
    arrays = {value.name: value.array() for value in outcome.ir.graph.initializers()}
    return {name: array.size - int(np.count_nonzero(array)) for name, array in arrays.items() if array is not None}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"w": 8, "v": 8, "k": 8, "b": 0}),
        ({"scope": "layer-type"}, {"w": 16, "v": 0, "k": 8, "b": 0}),
        ({"scope": "global"}, {"w": 8, "v": 0, "k": 16, "b": 0}),
        ({"scope": "global", "sparsity": 0.9}, {"w": 16, "v": 11, "k": 16, "b": 0}),
        ({"scope": "global", "exclude": ("op:Conv",)}, {"w": 16, "v": 0, "k": 0, "b": 0}),
        ({"include": ("w", "k*")}, {"w": 8, "v": 0, "k": 8, "b": 0}),
        ({"min_size": 17}, {"w": 0, "v": 0, "k": 0, "b": 0}),
    ],
)
def test_what_is_compared_with_what(options, expected):
    """Exactly the part that was asked for goes, of equal weights the first; biases stay."""
    assert expected == zeros(**options)


def test_names_that_nothing_has_are_told():
    with pytest.raises(PassError, match=r"prune-magnitude: include is \['z\*'\], and no weight that can be pruned"):
        zeros(include=("z*",))
