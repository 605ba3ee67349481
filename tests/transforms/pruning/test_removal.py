"""What dim groups say holds: indices whose outgoing weights are zero go, and outputs stay as they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.analysis.dim_groups import find_dim_groups
from tests.transforms.harness import PROPERTY, model
from tests.transforms.pruning.networks import (
    Network,
    image_networks,
    lifted,
    token_networks,
)
from tests.transforms.pruning.zeroing import assert_removable


def check(net: Network, share: float):
    proto = net.model(net.nodes[-1].output[0])
    return assert_removable(lifted(proto), net.feeds, np.random.default_rng(1), share=share)


@PROPERTY
@given(image_networks(), st.sampled_from([0.2, 0.5, 0.9]))
def test_networks_of_images_give_the_same_without_idle_indices(net, share):
    check(net, share)


@PROPERTY
@given(token_networks(), st.sampled_from([0.2, 0.5, 0.9]))
def test_networks_of_tokens_give_the_same_without_idle_indices(net, share):
    check(net, share)


def rows(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32) / 2


@pytest.mark.parametrize(
    ("body", "weights", "free"),
    [
        (  # four queries share two keys, in three axes
            (
                "q = MatMul (x, a) k = MatMul (x, b) v = MatMul (x, c) "
                "h = Attention <q_num_heads = 4, kv_num_heads = 2> (q, k, v) y = MatMul (h, d)"
            ),
            {"a": rows(6, 12), "b": rows(6, 6), "c": rows(6, 10), "d": rows(20, 3)},
            [(2, 3), (2, 6), (5, 2)],
        ),
        (  # in four axes, with something added to the scores of each head
            (
                "s = Constant <value_ints = [2, 5, 4, 3]> () "
                "q0 = MatMul (x, a) q1 = Reshape (q0, s) q = Transpose <perm = [0, 2, 1, 3]> (q1) "
                "k0 = MatMul (x, b) k1 = Reshape (k0, s) k = Transpose <perm = [0, 2, 1, 3]> (k1) "
                "h0 = Attention (q, k, k, m) h1 = Transpose <perm = [0, 2, 1, 3]> (h0) "
                "t = Constant <value_ints = [0, 0, -1]> () h = Reshape (h1, t) y = MatMul (h, d)"
            ),
            {"a": rows(6, 12), "b": rows(6, 12), "m": rows(1, 4, 5, 5), "d": rows(12, 3)},
            [(4, 1)],
        ),
    ],
)
def test_attention_in_one_operator(body, weights, free):
    proto = model(body, "float[2,5,6] x", "float[2,5,3] y", opset=23, initializers=weights)
    owner = lifted(proto)
    groups = find_dim_groups(owner.graph).groups
    assert free == sorted((group.size, group.places) for group in groups if not group.is_frozen)
    removed = assert_removable(owner, {"x": rows(2, 5, 6)}, np.random.default_rng(1))
    assert len(free) == removed.touched


def test_turned_heads_go_as_a_whole():
    body = (
        "q0 = MatMul (x, a) q = com.microsoft.RotaryEmbedding <num_heads = 3> (q0, p, c, s) k = MatMul (x, b) v = MatMul (x, b) "
        "h = com.microsoft.MultiHeadAttention <num_heads = 3> (q, k, v) y = MatMul (h, d)"
    )
    weights = {"a": rows(6, 12), "b": rows(6, 12), "c": rows(5, 2), "s": rows(5, 2), "d": rows(12, 3)}
    weights["p"] = np.arange(5).reshape(1, 5).repeat(2, 0)
    proto = model(
        body, "float[2,5,6] x", "float[2,5,3] y", opset=18, initializers=weights, imports=', "com.microsoft" : 1'
    )
    removed = assert_removable(lifted(proto), {"x": rows(2, 5, 6)}, np.random.default_rng(1), share=0.3)
    assert (1, 1) == (removed.touched, removed.indices)


@pytest.mark.parametrize(
    ("body", "weights", "free"),
    [
        (
            "c = Conv (x, k) g = GroupNormalization <num_groups = 4> (c, s, s) r = Relu (g) y = Conv (r, e)",
            {"k": rows(8, 4, 1, 1), "s": rows(8), "e": rows(3, 8, 1, 1)},
            [(4, 2)],
        ),
        (  # scales of each output channel, of integers
            "w = DequantizeLinear <axis = 0> (i, f, z) c = Conv (x, w) r = Relu (c) y = Conv (r, e)",
            {
                "i": np.arange(-16, 16, dtype=np.int8).reshape(8, 4, 1, 1),
                "f": np.abs(rows(8)) + 0.1,
                "z": np.zeros(8, np.int8),
                "e": rows(3, 8, 1, 1),
            },
            [(8, 1)],
        ),
        (
            "c = ConvTranspose (x, k, b) m, i = MaxPool <kernel_shape = [1, 1]> (c) y = Conv (m, e)",
            {"k": rows(4, 8, 1, 1), "b": rows(8), "e": rows(3, 8, 1, 1)},
            [],
        ),
        (
            "c = ConvTranspose (x, k, b) m = LpPool <kernel_shape = [1, 1]> (c) n = MeanVarianceNormalization (m) y = Conv (n, e)",
            {"k": rows(4, 8, 1, 1), "b": rows(8), "e": rows(3, 8, 1, 1)},
            [(8, 1)],
        ),
        (
            "c = Conv (x, k) n = MeanVarianceNormalization <axes = [1, 2, 3]> (c) y = Conv (n, e)",
            {"k": rows(8, 4, 1, 1), "e": rows(3, 8, 1, 1)},
            [],
        ),
        ("c = Conv (x, k) n = LRN <size = 3> (c) y = Conv (n, e)", {"k": rows(8, 4, 1, 1), "e": rows(3, 8, 1, 1)}, []),
    ],
)
def test_what_stands_between_two_convolutions(body, weights, free):
    """Normalizations over groups and over places, scales of channels, places that are given out, neighbours."""
    proto = model(body, "float[2,4,5,5] x", "float[2,3,5,5] y", opset=21, initializers=weights)
    owner = lifted(proto)
    groups = find_dim_groups(owner.graph).groups
    assert free == sorted((group.size, group.places) for group in groups if not group.is_frozen)
    removed = assert_removable(owner, {"x": rows(2, 4, 5, 5)}, np.random.default_rng(1))
    assert len(free) == removed.touched
