"""Attention that is spelt out becomes ONNX Runtime's MultiHeadAttention."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from onnx import ModelProto

from graphopt.ir import Array, DType
from graphopt.transforms.fusion.attention import FuseMicrosoftAttention
from graphopt.transforms.fusion.attention.multi_head import UseMultiHeadAttention
from tests.transforms.fusion.for_ort import ORT, near, untouched
from tests.transforms.harness import model, run, transform

RULE = UseMultiHeadAttention.name
MHA = "com.microsoft::MultiHeadAttention"
SIZES = {"b": 2, "s": 3, "l": 5}
INPUTS = "float[b,s,8] q, float[b,l,8] k, float[b,l,8] v"
CONSTANTS: dict[str, Array | np.generic] = {
    "split": np.array([0, 0, 2, 4]),
    "join": np.array([0, 0, 8]),
    "c": np.float32(0.5),
    "zero": np.float32(0),
}
FACTORS = (
    "qr = Reshape(q, split) qh = Transpose<perm = [0, 2, 1, 3]>(qr) kr = Reshape(k, split) "
    "kt = Transpose<perm = [0, 2, 3, 1]>(kr) vr = Reshape(v, split) vh = Transpose<perm = [0, 2, 1, 3]>(vr) "
)
SCORES = "z = MatMul(qh, kt) s = Mul(z, c) "
JOIN = "o = MatMul(p, vh) oh = Transpose<perm = [0, 2, 1, 3]>(o) y = Reshape(oh, join)"
PLAIN = f"{FACTORS}{SCORES}p = Softmax<axis = -1>(s) {JOIN}"


def made(
    body: str = PLAIN,
    inputs: str = INPUTS,
    outputs: str = "float[*] y",
    opset: int = 17,
    constants: Mapping[str, Array | np.generic] | None = None,
) -> ModelProto:
    return model(
        body,
        inputs,
        outputs,
        opset=opset,
        initializers={k: v for k, v in {**CONSTANTS, **(constants or {})}.items() if k in body},
    )


def test_one_operator_for_all():
    outcome = near(made(), FuseMicrosoftAttention(), [MHA], {RULE: 1}, sizes=SIZES)
    (node,) = outcome.ir.graph.nodes
    assert 2 == node.int_attr("num_heads")
    assert pytest.approx(0.5) == node.float_attr("scale")
    assert ["q", "k", "v"] == [None if value is None else value.name for value in node.inputs]


@pytest.mark.parametrize(
    ("factors", "scores", "scale"),
    [
        (FACTORS, "z = MatMul(qh, kt) s = Div(z, c) ", 2.0),
        (FACTORS, "qs = Mul(qh, c) ks = Mul(c, kt) s = MatMul(qs, ks) ", 0.25),
        (FACTORS, "s = MatMul(qh, kt) ", 1.0),
        (FACTORS.replace("q, split", "qq, split").replace("qr =", "qq = Mul(q, c) qr ="), "s = MatMul(qh, kt) ", 0.5),
    ],
)
def test_the_scale_may_stand_anywhere(factors, scores, scale):
    body = f"{factors}{scores}p = Softmax<axis = 3>(s) {JOIN}"
    outcome = near(made(body), FuseMicrosoftAttention(), [MHA], {RULE: 1}, sizes=SIZES)
    assert pytest.approx(scale) == next(iter(outcome.ir.graph.nodes)).float_attr("scale")


@pytest.mark.parametrize("shape", ["b,1,s,l", "1,2,s,l", "s,l", "b,2,s,l"])
def test_masks_with_rows_are_added(shape):
    body = f"{FACTORS}{SCORES}w = Add(s, m) p = Softmax<axis = -1>(w) {JOIN}"
    inputs = f"{INPUTS}, float[{shape}] m"
    ops = [MHA] if shape.count(",") == 3 else ["Unsqueeze", MHA]
    near(made(body, inputs), FuseMicrosoftAttention(), ops, {RULE: 1}, sizes=SIZES)


def test_a_mask_of_keys_gets_rows():
    body = f"{FACTORS}{SCORES}w = Add(m, s) p = Softmax<axis = -1>(w) {JOIN}"
    inputs = "float[b,s,8] q, float[b,s,8] k, float[b,s,8] v, float[b,1,1,s] m"
    ops = ["Shape", "Concat", "Expand", MHA]
    near(made(body, inputs), FuseMicrosoftAttention(), ops, {RULE: 1}, sizes=SIZES)


def test_a_mask_by_choice_is_added():
    body = f"{FACTORS}{SCORES}f = Cast<to = 9>(m) w = Where(f, s, low) p = Softmax<axis = -1>(w) {JOIN}"
    proto = made(body, f"{INPUTS}, float[b,1,s,l] m", constants={"low": np.float32(-np.inf)})
    near(proto, FuseMicrosoftAttention(), ["Cast", "Where", MHA], {RULE: 1}, sizes=SIZES)


def test_a_filler_that_scores_are_not_lost_in_stays():
    body = f"{FACTORS}{SCORES}f = Cast<to = 9>(m) w = Where(f, s, low) p = Softmax<axis = -1>(w) {JOIN}"
    untouched(made(body, f"{INPUTS}, float[b,1,s,l] m", constants={"low": np.float32(-10)}), FuseMicrosoftAttention())


GUARDED = f"{FACTORS}{SCORES}w = Add(s, m) p0 = Softmax<axis = -1>(w) t = IsNaN(p0) p = Where(t, zero, p0) {JOIN}"


def test_a_guard_against_nan_goes_where_masks_are_finite():
    body = GUARDED.replace("w = Add(s, m)", "f = Cast<to = 9>(m) e = Where(f, zero, low) w = Add(s, e)")
    proto = made(body, f"{INPUTS}, float[b,1,s,l] m", constants={"low": np.float32(-3.4e38)})
    near(proto, FuseMicrosoftAttention(), ["Cast", "Where", MHA], {RULE: 1}, sizes=SIZES)


def test_a_guard_against_nan_moves_behind_otherwise():
    proto = made(GUARDED, f"{INPUTS}, float[b,1,s,l] m")
    outcome = near(proto, FuseMicrosoftAttention(), [MHA, "IsNaN", "Where"], {RULE: 1}, sizes=SIZES)
    rng = np.random.default_rng(0)
    feeds = {name: rng.normal(size=(2, rows, 8)).astype(np.float32) for name, rows in (("q", 3), ("k", 5), ("v", 5))}
    feeds["m"] = np.zeros((2, 1, 3, 5), np.float32)
    feeds["m"][0, 0, 1] = -np.inf
    (before,), (after,) = run(proto, feeds), run(outcome.after, feeds)
    assert not before[0, 1].any()
    np.testing.assert_allclose(after.astype(np.float64), before.astype(np.float64), atol=1e-6)


def test_batch_and_heads_in_one_axis():
    body = (
        "qr = Reshape(q, split) qh = Transpose<perm = [0, 2, 1, 3]>(qr) qf = Reshape(qh, flat) kr = Reshape(k, split) "
        "kh = Transpose<perm = [0, 2, 1, 3]>(kr) kf = Reshape(kh, flat) kt = Transpose<perm = [0, 2, 1]>(kf) vr = Reshape(v, split) "
        "vh = Transpose<perm = [0, 2, 1, 3]>(vr) vf = Reshape(vh, flat) s = MatMul(qf, kt) p = Softmax<axis = -1>(s) f = MatMul(p, vf) "
        "o = Reshape(f, apart) oh = Transpose<perm = [0, 2, 1, 3]>(o) y = Reshape(oh, join)"
    )
    constants = {"flat": np.array([-1, 3, 4]), "apart": np.array([-1, 2, 3, 4]), "join": np.array([0, 3, 8])}
    proto = made(body, "float[b,3,8] q, float[b,3,8] k, float[b,3,8] v", constants=constants)
    near(proto, FuseMicrosoftAttention(), [MHA], {RULE: 1}, sizes=SIZES)


def test_a_single_head_of_rank_3():
    body = (
        "kt = Transpose<perm = [0, 2, 1]>(k) z = MatMul(q, kt) s = Mul(z, c) p = Softmax<axis = -1>(s) y = MatMul(p, v)"
    )
    near(made(body), FuseMicrosoftAttention(), [MHA], {RULE: 1}, sizes=SIZES)


def test_keys_and_values_that_were_not_split_are_taken_as_they_are():
    body = f"qr = Reshape(q, split) qh = Transpose<perm = [0, 2, 1, 3]>(qr) kt = Transpose<perm = [0, 1, 3, 2]>(k) {SCORES}"
    body += "p = Softmax<axis = -1>(s) o = MatMul(p, v) oh = Transpose<perm = [0, 2, 1, 3]>(o) y = Reshape(oh, join)"
    proto = made(body, "float[b,s,8] q, float[b,2,l,4] k, float[b,2,l,4] v")
    near(proto, FuseMicrosoftAttention(), [MHA], {RULE: 1}, sizes=SIZES)


def test_heads_that_are_not_joined_are_split_again():
    body = f"{FACTORS}{SCORES}p = Softmax<axis = -1>(s) y = MatMul(p, vh)"
    near(made(body), FuseMicrosoftAttention(), [MHA, "Reshape", "Transpose"], {RULE: 1}, sizes=SIZES)


@pytest.mark.parametrize(
    "body",
    [
        PLAIN.replace("axis = -1", "axis = 2"),
        f"{PLAIN} h = Neg(p)",
        f"{PLAIN} h = Neg(z)",
        PLAIN.replace("z = MatMul(qh, kt)", "u = MatMul(qh, kt) z = Neg(u)"),
        PLAIN.replace("s = Mul(z, c)", "u = Add(z, c) s = Mul(u, c)"),
        PLAIN.replace("s = Mul(z, c)", "s = Mul(z, e)"),
    ],
)
def test_what_is_no_attention_stays(body):
    outputs = "float[*] y, float[*] h" if " h = " in body else "float[*] y"
    inputs = f"{INPUTS}, float[] e" if "e)" in body else INPUTS
    untouched(made(body, inputs, outputs), FuseMicrosoftAttention())


def test_double_stays():
    proto = made(PLAIN, INPUTS.replace("float", "double"), "double[*] y", constants={"c": np.array(0.5)})
    untouched(proto, FuseMicrosoftAttention())


HALF = PLAIN.replace(
    "p = Softmax<axis = -1>(s)", "w = Cast<to = 1>(s) p0 = Softmax<axis = -1>(w) p = Cast<to = 10>(p0)"
)


def half(body, mask="", **constants):
    inputs = INPUTS.replace("float", "float16") + mask
    return made(body, inputs, "float16[*] y", constants={"c": np.float16(0.5), "zero": np.float16(0), **constants})


@pytest.mark.parametrize(
    "body", [PLAIN, HALF, HALF.replace("s = Mul(z, c) w = Cast<to = 1>(s)", "x = Cast<to = 1>(z) w = Mul(x, d)")]
)
def test_float16_may_be_cast_around_the_softmax(body):
    outcome = near(half(body, d=np.float32(0.5)), FuseMicrosoftAttention(), [MHA], {RULE: 1}, sizes=SIZES, rtol=4e-3)
    assert DType.FLOAT16 is outcome.ir.graph.outputs[0].dtype


@pytest.mark.parametrize("low", [-np.inf, -65504])
def test_float16_has_masks_that_are_small_or_minus_infinity(low):
    """The lowest number is rounded with the score, so that a row of it may have any weights."""
    body = HALF.replace("w = Cast<to = 1>(s)", "e = Where(f, zero, low) a = Add(s, e) w = Cast<to = 1>(a)")
    proto = half(body, ", bool[b,1,s,l] f", low=np.float16(low))
    if low == -np.inf:
        near(proto, FuseMicrosoftAttention(), ["Where", MHA], {RULE: 1}, sizes=SIZES, rtol=4e-3)
    else:
        untouched(proto, FuseMicrosoftAttention())


def test_masks_of_float32_on_float16_stay():
    body = HALF.replace("p0 = Softmax<axis = -1>(w)", "a = Add(w, m) p0 = Softmax<axis = -1>(a)")
    untouched(half(body, ", float[b,1,s,l] m"), FuseMicrosoftAttention())


@pytest.mark.parametrize("guarded", [False, True])
def test_masks_of_nothing_go(guarded):
    """Choosing by a truth value that is always true leaves no mask, and a guard against NaN has nothing to do then."""
    body = "f = Expand(true, size) m = Where(f, zero, low) " + (
        GUARDED if guarded else f"{FACTORS}{SCORES}w = Add(s, m) "
    )
    body += "" if guarded else f"p = Softmax<axis = -1>(w) {JOIN}"
    size: dict[str, Array | np.generic] = {
        "true": np.array(True),
        "size": np.array([1, 1, 1, 5]),
        "low": np.float32(-np.inf),
    }
    proto = made(body, INPUTS.replace("b,l,8", "b,5,8"), constants=size)
    near(proto, FuseMicrosoftAttention(), [MHA], {RULE: 1}, sizes=SIZES)


@pytest.mark.parametrize("inputs", [INPUTS.replace("[b,l,8] k", "[e,l,8] k"), INPUTS.replace("[b,l,8] v", "[b,m,8] v")])
def test_sizes_that_may_differ_stay(inputs):
    untouched(made(PLAIN, inputs), FuseMicrosoftAttention())


def test_a_mask_that_may_enlarge_scores_stays():
    body = f"{FACTORS}{SCORES}w = Add(s, m) p = Softmax<axis = -1>(w) y = MatMul(p, vh)"
    untouched(made(body, f"{INPUTS}, float[e,1,s,l] m"), FuseMicrosoftAttention())


def test_empty_tensors_keep_their_shapes():
    outcome = transform(made(), FuseMicrosoftAttention(), target=ORT)
    for sizes in ((0, 3, 5), (2, 0, 5), (2, 3, 0)):
        b, s, length = sizes
        feeds = {"q": np.ones((b, s, 8), np.float32), **{n: np.ones((b, length, 8), np.float32) for n in "kv"}}
        (before,), (after,) = run(made(), feeds), run(outcome.after, feeds)
        np.testing.assert_array_equal(before, after)


def test_targets_without_the_operator_do_not_get_it():
    assert {} == transform(made(), FuseMicrosoftAttention()).applied


PACKED = (
    "r = Reshape(x, packed) t = Transpose<perm = [2, 0, 3, 1, 4]>(r) q = Gather<axis = 0>(t, i0) k = Gather<axis = 0>(t, i1) "
    "v = Gather<axis = 0>(t, i2) kt = Transpose<perm = [0, 1, 3, 2]>(k) s = MatMul(q, kt) p = Softmax<axis = -1>(s) o = MatMul(p, v) "
    "oh = Transpose<perm = [0, 2, 1, 3]>(o) y = Reshape(oh, join)"
)
PARTS = {"packed": np.array([0, 0, 3, 2, 4]), **{f"i{place}": np.array(place) for place in range(3)}}


def test_parts_of_one_product_are_taken_apart_first():
    proto = made(PACKED, "float[b,s,24] x", constants=PARTS)
    near(proto, FuseMicrosoftAttention(), ["Split", MHA], {"split-packed-factors": 1, RULE: 1}, sizes=SIZES)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("k = Gather<axis = 0>(t, i1)", "k = Gather<axis = 0>(t, i0)"),
        ("v = Gather<axis = 0>(t, i2)", "g = Gather<axis = 0>(t, i2) v = Neg(g)"),
        ("perm = [2, 0, 3, 1, 4]", "perm = [2, 0, 1, 3, 4]"),
    ],
)
def test_other_parts_stay_together(old, new):
    proto = made(PACKED.replace(old, new), "float[b,2,24] x", constants=PARTS)
    assert "split-packed-factors" not in transform(proto, FuseMicrosoftAttention(), target=ORT).applied


WINDOWS = (
    f"{FACTORS}{SCORES}z5 = Reshape(s, five) w5 = Add(z5, m) w = Reshape(w5, four) p = Softmax<axis = -1>(w) {JOIN}"
)


def windows(five, mask):
    batch = "float[6,3,8] q, float[6,5,8] k, float[6,5,8] v"
    return made(
        WINDOWS, f"{batch}, float[{mask}] m", constants={"five": np.array(five), "four": np.array([6, 2, 3, 5])}
    )


def test_a_mask_of_windows():
    near(windows([1, 6, 2, 3, 5], "1,6,1,3,5"), FuseMicrosoftAttention(), ["Squeeze", MHA], {RULE: 1})


@pytest.mark.parametrize(
    ("five", "mask"),
    [
        ([2, 3, 2, 3, 5], "1,3,1,3,5"),
        ([1, 3, 4, 3, 5], "1,3,1,3,5"),
        ([1, 2, 6, 3, 5], "1,1,6,3,5"),
        ([1, 4, 3, 3, 5], "4,1,3,5"),
    ],
)
def test_masks_that_divide_batch_or_heads_otherwise_stay(five, mask):
    untouched(windows(five, mask), FuseMicrosoftAttention())


def test_values_of_another_size_are_joined():
    body = f"qr = Reshape(q, split) qh = Transpose<perm = [0, 2, 1, 3]>(qr) kt = Transpose<perm = [0, 1, 3, 2]>(k) {SCORES}"
    body += "p = Softmax<axis = -1>(s) o = MatMul(p, v) oh = Transpose<perm = [0, 2, 1, 3]>(o) y = Reshape(oh, wide)"
    proto = made(body, "float[b,s,8] q, float[b,2,l,4] k, float[b,2,l,3] v", constants={"wide": np.array([0, 0, 6])})
    ops = ["Transpose", "Reshape", "Transpose", "Reshape", MHA]
    near(proto, FuseMicrosoftAttention(), ops, {RULE: 1}, sizes=SIZES)
