"""Attention of opset 23: what is spelt out becomes it, heads are joined and shared again."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.fusion.attention import FuseAttention
from tests.transforms.harness import assert_exact, assert_near, assert_untouched, model

SPLIT = {"split": np.array([0, 0, 2, 4]), "join": np.array([0, 0, 8])}
FACTORS = (
    "qr = Reshape(q, split) qh = Transpose<perm = [0, 2, 1, 3]>(qr) kr = Reshape(k, split) vr = Reshape(v, split) "
    "vh = Transpose<perm = [0, 2, 1, 3]>(vr) "
)
JOIN = "oh = Transpose<perm = [0, 2, 1, 3]>(o) y = Reshape(oh, join)"
PLAIN = (
    f"{FACTORS}kt = Transpose<perm = [0, 2, 3, 1]>(kr) s = MatMul(qh, kt) z = Mul(s, c) p = Softmax<axis = -1>(z) "
    f"o = MatMul(p, vh) {JOIN}"
)
STATIC = "float[b,3,8] q, float[b,5,8] k, float[b,5,8] v"
SIZES = {"b": 2, "s": 3, "l": 5}


def made(body, inputs=STATIC, opset=23, **constants):
    return model(
        body,
        inputs,
        opset=opset,
        initializers={**SPLIT, **({"c": np.float32(0.5)} if ", c)" in body else {}), **constants},
    )


def test_spelt_out():
    outcome = assert_near(made(PLAIN), FuseAttention(), ["Attention"], {"use-attention": 1}, sizes=SIZES)
    (node,) = outcome.ir.graph.nodes
    assert (2, 2) == (node.attr("q_num_heads"), node.attr("kv_num_heads"))
    assert pytest.approx(0.5) == node.attr("scale")


@pytest.mark.parametrize(
    ("body", "inputs", "opset"),
    [
        (PLAIN, STATIC, 22),
        (PLAIN, STATIC.replace("3", "s"), 23),
        (
            PLAIN.replace("p = Softmax<axis = -1>(z)", "w = Add(z, m) p = Softmax<axis = -1>(w)"),
            f"{STATIC}, float[3,5] m",
            23,
        ),
    ],
)
def test_what_the_kernel_might_do_otherwise_stays(body, inputs, opset):
    assert_untouched(made(body, inputs, opset), FuseAttention())


def test_a_mask_of_small_numbers_is_taken():
    body = PLAIN.replace("p = Softmax<axis = -1>(z)", "w = Add(z, m) p = Softmax<axis = -1>(w)")
    proto = made(body, m=np.linspace(-5, 5, 30, dtype=np.float32).reshape(1, 2, 3, 5))
    assert_near(proto, FuseAttention(), ["Attention"], {"use-attention": 1}, sizes=SIZES)


@pytest.mark.parametrize("more", ["", ", is_causal = 1"])
def test_heads_that_were_split_for_the_operator_are_joined(more):
    body = f"{FACTORS}kh = Transpose<perm = [0, 2, 1, 3]>(kr) o = Attention<scale = 0.3{more}>(qh, kh, vh, m) {JOIN}"
    proto = made(body, "float[b,s,8] q, float[b,l,8] k, float[b,l,8] v, float[s,l] m")
    outcome = assert_near(proto, FuseAttention(), ["Attention"], {"join-attention-heads": 1}, sizes=SIZES)
    assert bool(more) == bool(next(iter(outcome.ir.graph.nodes)).attr("is_causal"))


def test_heads_of_a_factor_that_was_not_split_stay():
    body = f"{FACTORS}o = Attention(qh, k4, vh) {JOIN}"
    inputs = "float[b,s,8] q, float[b,l,8] k, float[b,l,8] v, float[b,2,l,4] k4"
    assert_untouched(made(body.replace("kr = Reshape(k, split) ", ""), inputs), FuseAttention())


REPEATED = (
    "ku = Unsqueeze(k, two) ke = Expand(ku, wide) kh = Reshape(ke, all) vu = Unsqueeze(v, two) ve = Expand(vu, wide) "
    "vh = Reshape(ve, all) y = Attention(q, kh, vh)"
)


def repeated(**changed):
    constants = {"two": np.array([2]), "wide": np.array([1, 2, 3, 5, 4]), "all": np.array([2, 6, 5, 4]), **changed}
    return model(REPEATED, "float[2,6,3,4] q, float[2,2,5,4] k, float[2,2,5,4] v", opset=24, initializers=constants)


def test_heads_that_were_repeated_are_shared():
    rules = {"gather-repeated-heads": 2, "share-attention-heads": 1}
    assert_near(repeated(), FuseAttention(), ["Attention"], rules)


ALONE = "ku = Unsqueeze(k, two) ke = Expand(ku, wide) y = Reshape(ke, all)"


@pytest.mark.parametrize("shape", ["2,2,5,4", "2,2,l,4"])
def test_repeated_heads_are_gathered(shape):
    constants = {"two": np.array([2]), "wide": np.array([1, 1, 3, 1, 1]), "all": np.array([2, 6, -1, 4])}
    proto = model(ALONE, f"float[{shape}] k", opset=17, initializers=constants)
    assert_exact(proto, FuseAttention(), ["Gather"], {"gather-repeated-heads": 1})


@pytest.mark.parametrize(
    ("body", "outputs", "every"),
    [
        (f"{ALONE} h = Neg(ke)", "float[*] y, float[*] h", [2, 6, -1, 4]),
        (ALONE, "float[*] y", [2, 3, -1, 4]),
        (ALONE, "float[*] y", [6, 2, 5, 4]),
    ],
)
def test_other_shapes_are_not_gathered(body, outputs, every):
    constants = {"two": np.array([2]), "wide": np.array([1, 1, 3, 1, 1]), "all": np.array(every)}
    assert_untouched(model(body, "float[2,2,5,4] k", outputs, opset=17, initializers=constants), FuseAttention())


@pytest.mark.parametrize(
    ("order", "shared"), [((0, 0, 0, 1, 1, 1), 1), ((0, 1, 0, 1, 0, 1), 0), ((0, 0, 1, 1), 1), ((1, 1, 1, 0, 0, 0), 0)]
)
def test_gathered_heads_are_shared(order, shared):
    heads = len(order)
    proto = model(
        "kh = Gather<axis = 1>(k, i) vh = Gather<axis = 1>(v, i) y = Attention(q, kh, vh)",
        f"float[2,{heads},3,4] q, float[2,2,5,4] k, float[2,2,5,4] v",
        opset=23,
        initializers={"i": np.array(order)},
    )
    if shared:
        assert_near(proto, FuseAttention(), ["Attention"], {"share-attention-heads": 1})
    else:
        assert_untouched(proto, FuseAttention())


def test_heads_that_were_repeated_as_a_whole_stay():
    """[k0, k1, k0, k1, ...] is no group of queries for each head."""
    proto = repeated(two=np.array([1]), wide=np.array([2, 3, 2, 5, 4]))
    assert_untouched(proto, FuseAttention())
