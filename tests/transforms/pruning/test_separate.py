"""Vectors that layers share by chance tie their channels together, and no longer once each has its own."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.analysis.dim_groups import find_dim_groups
from graphopt.passes import PassContext
from graphopt.transforms.deduplicate import DeduplicateConstants
from graphopt.transforms.pruning import PruneChannels, SeparateConstants
from tests.transforms.harness import model
from tests.transforms.pruning.networks import lifted
from tests.transforms.pruning.zeroing import assert_removable, run_model

RNG = np.random.default_rng(0)
LAYERS = "h = MatMul (x, w) a = Add (h, b) i = MatMul (a, v) c = Add (i, b) y = MatMul (c, u)"


def layers(body=LAYERS, b=(8,)):
    shapes = {"w": (4, 8), "v": (8, 8), "u": (8, 3)}
    weights = {name: RNG.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return lifted(model(body, "float[2,4] x", "float[2,3] y", initializers={**weights, "b": np.zeros(b, np.float32)}))


def free(owner):
    return sorted(group.size for group in find_dim_groups(owner.graph).groups if not group.is_frozen)


def test_channels_are_pruned_apart():
    owner, feeds = layers(), {"x": RNG.normal(size=(2, 4)).astype(np.float32)}
    assert [8] == free(owner)
    expected = run_model(owner, feeds)
    step = SeparateConstants()
    assert {"copies": 1} == dict(step.run(owner.graph, PassContext()).stats)
    assert not step.run(owner.graph, PassContext()).changed
    assert [8, 8] == free(owner)
    np.testing.assert_array_equal(expected["y"], run_model(owner, feeds)["y"])
    assert_removable(owner, feeds, np.random.default_rng(1))


def test_what_is_still_equal_is_merged_again():
    owner = layers()
    SeparateConstants().run(owner.graph, PassContext())
    PruneChannels(ratio=0.5, round_to=1).run(owner.graph, PassContext())
    DeduplicateConstants().run(owner.graph, PassContext())
    vectors = [value for value in owner.graph.initializers() if len(value.const.shape) == 1]
    assert [(4,)] == [value.const.shape for value in vectors]
    assert (2, 3) == run_model(owner, {"x": np.ones((2, 4), np.float32)})["y"].shape


@pytest.mark.parametrize(
    ("body", "b"),
    [
        ("h = MatMul (x, w) i = MatMul (h, v) j = MatMul (i, v) y = MatMul (j, u)", (8,)),  # a matrix
        ("h = MatMul (x, w) a = Add (h, b) i = MatMul (a, v) c = Add (i, b) y = MatMul (c, u)", (1,)),  # a number
        ("h = MatMul (x, w) a = Add (h, b) i = MatMul (a, v) y = MatMul (i, u)", (8,)),  # one reader
    ],
)
def test_others_stay(body, b):
    assert not SeparateConstants().run(layers(body, b).graph, PassContext()).changed
