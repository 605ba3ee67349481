"""Which groups blocks of networks have: how large, and how many elements go with an index; and why others are frozen."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.analysis.dim_groups import PluginRoles, find_dim_groups
from tests.transforms.harness import model
from tests.transforms.pruning import networks
from tests.transforms.pruning.networks import Network, lifted

IMAGES = {
    "_plain": [(8, 1), (12, 1)],
    "_residual": [(8, 1), (12, 1)],
    "_depthwise": [(2, 8), (8, 1)],
    "_grouped": [(2, 4), (4, 1), (6, 2)],
    "_squeeze_excite": [(8, 1), (12, 1)],
    "_dense": [(8, 1), (12, 1)],
    "_split": [(2, 1), (6, 1), (12, 1)],
    "_shuffle": [(2, 4), (4, 1), (6, 2)],
    "_gated": [(8, 1), (12, 2)],
    "_instance_norm": [(8, 1)],
    "_group_norm": [(6, 1), (8, 1)],
    "_transposed": [(2, 4), (4, 2), (6, 1)],
    "_space": [(8, 1), (12, 1), (12, 4)],
    "_halves": [(4, 1), (4, 1), (12, 1)],
    "_padded": [(8, 1)],
    "_pooled": [(8, 1)],
    "_resized": [(8, 1)],
    "_chosen": [(8, 1)],
    "_excited_by_reshape": [(8, 1), (12, 1)],
    "_channels_last": [(12, 1)],
    "_selected": [(8, 1)],
    "_repeated": [(8, 1), (12, 1)],
}
TOKENS = {
    "_feed_forward": [(12, 1)],
    "_glu": [(8, 1), (8, 1), (12, 1)],
    "_attention": [(3, 3), (3, 3), (8, 1)],
    "_packed_attention": [(3, 4), (8, 1), (8, 1)],
    "_shared_heads": [(2, 9), (3, 3), (3, 3), (8, 1), (8, 1)],
    "_fused_attention": [(3, 4), (4, 3), (8, 1), (8, 1)],
    "_recurrent": [(8, 1), (8, 1), (12, 1)],
    "_einsum": [(3, 1), (8, 1), (8, 1), (12, 1)],
    "_experts": [(8, 1), (8, 1), (12, 1)],
    "_scaled": [(8, 1), (8, 1)],
    "_with_state": [(8, 1), (12, 1)],
    "_gathered_heads": [(2, 9), (3, 3), (3, 3), (8, 1), (8, 1)],
    "_convolved": [(8, 1), (8, 1), (12, 1)],
    "_rotated": [(3, 4), (4, 3), (8, 1), (8, 1)],
    "_projecting_attention": [(2, 3), (3, 2), (8, 1), (8, 1)],
    "_grouped_query": [(2, 24), (3, 8), (8, 1), (8, 1)],
}


def free(proto, **more):
    groups = find_dim_groups(lifted(proto).graph, **more).groups
    return sorted((group.size, group.places) for group in groups if not group.is_frozen)


def reasons(proto):
    groups = find_dim_groups(lifted(proto).graph).groups
    return {why for group in groups for why in group.reasons}


@pytest.mark.parametrize("name", IMAGES)
def test_blocks_of_images(name):
    """Between a convolution of 8 channels and a classifier of all elements."""
    net = Network(0)
    x = net.input("x", [2, 3, 6, 6], np.zeros((2, 3, 6, 6), np.float32))
    x, c = getattr(networks, name)(net, net.conv(x, 3, 8), 8, 12)
    x = net.op("Gemm", net.op("Flatten", x), net.weight(5, c * 36), transB=1)
    assert IMAGES[name] == free(net.model(x))


@pytest.mark.parametrize("name", TOKENS)
def test_blocks_of_tokens(name):
    """Between two layers of width 8, with a dynamic batch."""
    net = Network(0)
    x = net.input("x", ["batch", 5, 6], np.zeros((2, 5, 6), np.float32))
    x = networks._linear(net, x, 6, 8)
    batch = net.op("Slice", net.op("Shape", x), net.ints(0), net.ints(1))
    x, c = getattr(networks, name)(net, x, 8, 12, batch)
    assert TOKENS[name] == free(net.model(networks._linear(net, x, c, 4)))


def test_each_block_is_expected():
    assert IMAGES.keys() == {block.__name__ for block in networks.IMAGE_BLOCKS}
    assert TOKENS.keys() == {block.__name__ for block in networks.TOKEN_BLOCKS}


W = {"w": np.ones((4, 8), np.float32), "v": np.ones((8, 3), np.float32), "s": np.ones(8, np.float32)}


@pytest.mark.parametrize(
    ("between", "why"),
    [
        ("g = Softmax <axis = -1> (h)", "a softmax is taken over it"),
        ("g = LogSoftmax <axis = 0> (h)", None),
        ("g = LayerNormalization (h, s)", "its indices are normalized together"),
        ("i = Constant <value_ints = [1]> () g0 = ReduceMax <keepdims = 1> (h, i) g = Add (h, g0)", "it is reduced"),
        ("i = Constant <value_int = 1> () g = CumSum (h, i)", "it is summed up step by step"),
        ("i = Constant <value_int = 0> () g = CumSum (h, i)", None),
        ("k = Constant <value_ints = [8]> () g, i = TopK (h, k)", "places in it are given out"),
        ("i = Constant <value_ints = [1, 0, 2, 3, 4, 5, 6, 7]> () g = Gather <axis = 1> (h, i)", "indices are picked from it"),
        ("g = LpNormalization <axis = 1> (h)", "its indices are normalized together"),
        ("t = Transpose (h) q = MatMul (h, t) g = MatMul (q, h)", "it is summed without weights"),
        ("g = Trilu (h)", "a triangle is cut out of it"),
        ("g = Mod <fmod = 1> (h, s)", None),
        ("g, a, b = DynamicQuantizeLinear (h) f = Cast <to = 1> (g)", "DynamicQuantizeLinear is not followed"),
        ("g = Identity (h) z = Identity (h)", "it is an axis of an output"),
        ("n = Size (h) f = Cast <to = 1> (n) g = Div (h, f)", "Size is not followed"),
        ("n = Shape <start = 1> (h) f = Cast <to = 1> (n) g = Div (h, f)", "the model computes with its size"),
        ("c = Constant <value_ints = [2, 8]> () g = Reshape (h, c)", None),
        ("c = Constant <value_ints = [-1, 8]> () g = Reshape (h, c)", None),
        ("c = Constant <value_ints = [2, 8]> () z = Identity (c) o = Concat <axis = 0> (c) g = Reshape (h, o)", None),
        (("c = Constant <value_ints = [2, 8]> () o = Concat <axis = 0> (c) f = Cast <to = 1> (o) a = ReduceSum (f) "
         "g0 = Reshape (h, o) g = Add (g0, a)"),
         "a constant is its size and something else"),
        (("r = Constant <value_ints = [1, 2]> () t = Tile (h, r) b = Constant <value_ints = [0]> () e = Constant <value_ints = [8]> () "
         "a = Constant <value_ints = [1]> () g = Slice (t, b, e, a)"), None),
        ("g = Dropout (h)", None),
        (("b = Constant <value_ints = [-1]> () e = Constant <value_ints = [-9]> () a = Constant <value_ints = [1]> () "
         "g = Slice (h, b, e, a, b)"), "indices are picked from it"),
    ],
)  # fmt: skip
def test_what_stands_between_two_layers(between, why):
    """Two layers with 8 hidden units: these are a group unless something between mixes, counts or picks them."""
    outputs = "float[2,3] y" + (", float[*] z" if " z = " in between and "Identity (h)" in between else "")
    last = "f" if "DynamicQuantize" in between else "g"
    proto = model(
        f"h = MatMul (x, w) {between} y = MatMul ({last}, v)", "float[2,4] x", outputs, opset=18, initializers=W
    )
    groups = find_dim_groups(lifted(proto).graph).groups
    hidden = [group for group in groups if group.size == 8]
    if why is None:
        assert [False] == [group.is_frozen for group in hidden]
    else:
        assert all(group.is_frozen for group in hidden)
        assert why in {reason for group in hidden for reason in group.reasons}


def test_a_weight_that_is_used_twice_is_in_one_group():
    """Both layers share it, so their hidden units are the same."""
    proto = model(
        "h = MatMul (x, w) g = Relu (h) a = MatMul (g, v) k = MatMul (x2, w) b = MatMul (k, v) y = Add (a, b)",
        "float[2,4] x, float[2,4] x2", "float[2,3] y", opset=18, initializers=W,
    )  # fmt: skip
    groups = [group for group in find_dim_groups(lifted(proto).graph).groups if not group.is_frozen]
    assert [(8, 2, 2)] == [(group.size, len(group.producers), len(group.consumers)) for group in groups]


def test_weights_that_are_computed_from_constants_count():
    proto = model(
        "t = Transpose (w) u = Transpose (t) h = MatMul (x, u) y = MatMul (h, v)", "float[2,4] x", "float[2,3] y",
        initializers=W,
    )  # fmt: skip
    (group,) = [group for group in find_dim_groups(lifted(proto).graph).groups if not group.is_frozen]
    assert ["w", "v"] == [group.producers[0].value.name, group.consumers[0].value.name]


def test_defaults_of_inputs_are_inputs():
    """Callers may give another weight, so its shape stays."""
    proto = model("h = MatMul (x, w) y = MatMul (h, v)", "float[2,4] x, float[4,8] w", "float[2,3] y", initializers=W)
    assert [] == free(proto)


def test_loops_freeze_what_they_carry():
    body = "body (int64 i, bool c, float[2,8] s) => (bool d, float[2,8] o) { d = Identity (c) o = Relu (s) }"
    proto = model(
        f"h = MatMul (x, w) n = Constant <value_int = 3> () t = Constant <value = bool {{1}}> () "
        f"g = Loop (n, t, h) <body = {body}> y = MatMul (g, v)",
        "float[2,4] x", "float[2,3] y", initializers=W,
    )  # fmt: skip
    assert "Loop carries it from step to step" in reasons(proto)


@pytest.mark.parametrize(("separable", "expected"), [((), []), (("n",), [(8, 1)])])
def test_operators_of_plugins_are_followed_by_what_they_say(separable, expected, monkeypatch):
    """Named axes say sizes only; that indices are separate must be said too."""
    proto = model("h = MatMul (x, w) g = Elu (h) y = MatMul (g, v)", "float[2,4] x", "float[2,3] y", initializers=W)
    monkeypatch.delitem(find_dim_groups.__globals__["ROLE_FUNCTIONS"], "Elu")
    assert [] == free(proto)
    roles = {"Elu": PluginRoles({"X": ("m", "n"), "Y": ("m", "n")}, separable)}
    assert expected == free(proto, plugin_roles=roles)
