"""Heads of a packed product are moved at once, and taken apart again for operators of attention."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.fusion.attention import FuseMicrosoftAttention
from graphopt.transforms.strength.parallel_products import PackParallelProducts
from tests.transforms.fusion.for_ort import near
from tests.transforms.harness import assert_exact, assert_untouched, model, transform

CONSTANTS = {
    "sizes": np.array([8, 8, 8]),
    "heads": np.array([0, 0, 2, 4]),
    "join": np.array([0, 0, 8]),
    "shared": np.array([0, 0, 1, 4]),
    "fewer": np.array([8, 4, 4]),
}
PARTS = (
    "q, k, v = Split<axis = -1>(x, sizes) qr = Reshape(q, heads) qh = Transpose<perm = [0, 2, 1, 3]>(qr) kr = Reshape(k, heads) "
    "kt = Transpose<perm = [0, 2, 3, 1]>(kr) vr = Reshape(v, heads) vh = Transpose<perm = [0, 2, 1, 3]>(vr) "
)
CORE = "s = MatMul(qh, kt) p = Softmax<axis = -1>(s) o = MatMul(p, vh) "
JOIN = "oh = Transpose<perm = [0, 2, 1, 3]>(o) y = Reshape(oh, join)"
RULE = {"split-moved-heads": 1}
MOVED = ["Reshape", "Transpose", "Split", "Transpose"]
SIZES = {"b": 2, "s": 3}


def made(body, inputs="float[b,s,24] x", outputs="float[*] y", opset=17):
    used = {name: value for name, value in CONSTANTS.items() if f"{name})" in body}
    return model(body, inputs, outputs, opset=opset, initializers=used)


def test_heads_are_moved_at_once():
    assert_exact(
        made(PARTS + CORE + JOIN),
        PackParallelProducts(),
        [*MOVED, "MatMul", "Softmax", "MatMul", "Transpose", "Reshape"],
        RULE,
        sizes=SIZES,
    )


def test_sizes_as_an_attribute():
    body = (PARTS + CORE + JOIN).replace("Split<axis = -1>(x, sizes)", "Split<axis = 2, split = [8, 8, 8]>(x)")
    body = body.replace("p = Softmax<axis = -1>", "p = Softmax<axis = 3>")
    outcome = transform(made(body, opset=12), PackParallelProducts())
    assert (RULE, MOVED) == (outcome.applied, outcome.ops[:4])


def test_keys_and_values_of_fewer_heads():
    body = (
        PARTS.replace("(x, sizes)", "(x, fewer)")
        .replace("(k, heads)", "(k, shared)")
        .replace("(v, heads)", "(v, shared)")
        + CORE
        + JOIN
    )
    outcome = assert_exact(
        made(body, "float[b,s,16] x"),
        PackParallelProducts(),
        [*MOVED, "MatMul", "Softmax", "MatMul", "Transpose", "Reshape"],
        RULE,
        sizes=SIZES,
    )
    assert outcome is not None


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        (f"{PARTS}{CORE}{JOIN} z = Neg(k)", "float[*] y, float[*] z"),
        (f"{PARTS}{CORE}{JOIN} z = Neg(vr)", "float[*] y, float[*] z"),
        (
            f"{PARTS}{CORE}{JOIN}".replace(
                "qh = Transpose<perm = [0, 2, 1, 3]>", "qh = Transpose<perm = [1, 2, 0, 3]>"
            ),
            "float[*] y",
        ),
        (
            f"{PARTS}{CORE}{JOIN}".replace("Split<axis = -1>(x, sizes)", "Split<axis = 1>(x, sizes)").replace(
                "(x,", "(x,"
            ),
            "float[*] y",
        ),
    ],
)
def test_other_parts_stay(body, outputs):
    inputs = "float[3,24,8] x" if "Split<axis = 1>" in body else "float[3,3,24] x"
    assert_untouched(made(body, inputs, outputs), PackParallelProducts())


def test_attention_takes_the_parts_apart_again():
    moved = transform(made(PARTS + CORE + JOIN), PackParallelProducts()).after
    ops = ["Split", "com.microsoft::MultiHeadAttention"]
    near(moved, FuseMicrosoftAttention(), ops, {"split-packed-heads": 1, "use-multi-head-attention": 1}, sizes=SIZES)


def test_heads_that_do_not_enter_attention_stay_together():
    moved = transform(made(f"{PARTS}s = MatMul(qh, kt) t = MatMul(s, vh) y = Neg(t)"), PackParallelProducts()).after
    assert {} == transform(moved, FuseMicrosoftAttention()).applied
