"""Operators of attention take caches of keys and values by themselves."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.fusion.attention import FuseAttention, FuseMicrosoftAttention
from tests.transforms.fusion.for_ort import ORT, near, untouched
from tests.transforms.harness import assert_near, assert_untouched, model, run, transform

SPLIT = {"split": np.array([0, 0, 2, 4]), "join": np.array([0, 0, 8])}
SIZES = {"b": 2, "s": 3, "p": 4}
PASTS = "float[b,2,p,4] pk, float[b,2,p,4] pv"
INPUTS = f"float[b,s,8] q, float[b,s,8] k, float[b,s,8] v, {PASTS}"
OUTPUTS = "float[*] y, float[*] jk, float[*] jv"
FACTORS = (
    "qr = Reshape(q, split) qh = Transpose<perm = [0, 2, 1, 3]>(qr) kr = Reshape(k, split) kh = Transpose<perm = [0, 2, 1, 3]>(kr) "
    "vr = Reshape(v, split) vh = Transpose<perm = [0, 2, 1, 3]>(vr) jk = Concat<axis = 2>(pk, kh) jv = Concat<axis = -2>(pv, vh) "
)
SPELT = (
    f"{FACTORS}kt = Transpose<perm = [0, 1, 3, 2]>(jk) z = MatMul(qh, kt) w = Mul(z, c) p = Softmax<axis = -1>(w) o = MatMul(p, jv) "
    "oh = Transpose<perm = [0, 2, 1, 3]>(o) y = Reshape(oh, join)"
)
MASKED = SPELT.replace("p = Softmax<axis = -1>(w)", "x = Add(w, m) p = Softmax<axis = -1>(x)")
MHA = "com.microsoft::MultiHeadAttention"
USED = {"use-multi-head-attention": 1, "give-multi-head-attention-cache": 1}


def spelt(body=SPELT, inputs=INPUTS, outputs=OUTPUTS, opset=17, **constants):
    known = {**SPLIT, "c": np.float32(0.5), **constants}
    return model(
        body,
        inputs,
        outputs,
        opset=opset,
        initializers={k: v for k, v in known.items() if f"{k})" in body},
    )


@pytest.mark.parametrize("past", [0, 1, 4])
@pytest.mark.parametrize("rows", [1, 3])
def test_a_cache_of_spelt_attention(past, rows):
    outcome = near(spelt(), FuseMicrosoftAttention(), [MHA], USED, sizes={"b": 2, "s": rows, "p": past})
    assert ["y", "jk", "jv"] == [value.name for value in outcome.ir.graph.outputs]


def test_masks_cover_past_and_new_positions():
    proto = spelt(MASKED, INPUTS.replace("b,2,p,4", "b,2,4,4").replace("b,s,8", "b,3,8") + ", float[b,1,3,7] m")
    near(proto, FuseMicrosoftAttention(), [MHA], USED, sizes=SIZES)


@pytest.mark.parametrize("columns", [1, 7])
def test_masks_of_unknown_length_are_expanded_to_past_and_new_positions(columns):
    ops = ["Shape", "Shape", "Add", "Concat", "Expand", MHA]
    sizes = {**SIZES, "t": columns}
    near(spelt(MASKED, f"{INPUTS}, float[b,1,s,t] m"), FuseMicrosoftAttention(), ops, USED, sizes=sizes)


def test_empty_batches_and_rows_keep_their_shapes():
    outcome = transform(spelt(), FuseMicrosoftAttention(), target=ORT)
    for batch, rows, past in ((0, 3, 4), (2, 0, 4), (2, 0, 0)):
        feeds = {name: np.ones((batch, rows, 8), np.float32) for name in "qkv"}
        feeds |= {name: np.ones((batch, 2, past, 4), np.float32) for name in ("pk", "pv")}
        for before, after in zip(run(spelt(), feeds), run(outcome.after, feeds), strict=True):
            np.testing.assert_array_equal(before, after)


def test_a_single_position_needs_no_moving():
    body = SPELT
    for name in "qkv":
        body = body.replace(
            f"{name}r = Reshape({name}, split) {name}h = Transpose<perm = [0, 2, 1, 3]>({name}r)",
            f"{name}h = Reshape({name}, apart)",
        )
    body = body.replace("oh = Transpose<perm = [0, 2, 1, 3]>(o) y = Reshape(oh, join)", "y = Reshape(o, join)")
    proto = spelt(
        body,
        INPUTS.replace("b,s,8", "b,1,8"),
        apart=np.array([-1, 2, 1, 4]),
        join=np.array([-1, 1, 8]),
    )
    near(proto, FuseMicrosoftAttention(), [MHA], USED, sizes=SIZES)


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        (SPELT.replace("jk = Concat<axis = 2>(pk, kh)", "jk = Concat<axis = 2>(kh, pk)"), OUTPUTS),
        (f"{SPELT} h = Neg(jk)", f"{OUTPUTS}, float[*] h"),
        (SPELT.replace("jv = Concat<axis = -2>(pv, vh)", "jv = Concat<axis = -2>(pv, vh, vh)"), OUTPUTS),
        (
            SPELT.replace(
                "kh = Transpose<perm = [0, 2, 1, 3]>(kr)", "kg = Transpose<perm = [0, 2, 1, 3]>(kr) kh = Neg(kg)"
            ),
            OUTPUTS,
        ),
    ],
)
def test_other_joined_keys_stay(body, outputs):
    proto = spelt(body, outputs=outputs)
    assert "give-multi-head-attention-cache" not in transform(proto, FuseMicrosoftAttention(), target=ORT).applied


def test_heads_on_another_axis_stay():
    """Joined on the axis of heads, a past of heads is no past of positions."""
    body = SPELT.replace("Concat<axis = 2>", "Concat<axis = 1>").replace("Concat<axis = -2>", "Concat<axis = 1>")
    proto = spelt(body, INPUTS.replace("b,2,p,4", "b,2,s,4"))
    assert "give-multi-head-attention-cache" not in transform(proto, FuseMicrosoftAttention(), target=ORT).applied


STANDARD = "jk = Concat<axis = 2>(pk, k) jv = Concat<axis = -2>(pv, v) y = Attention<scale = 0.3>(q, jk, jv)"
STANDARD_INPUTS = "float[b,2,3,4] q, float[b,2,3,4] k, float[b,2,3,4] v, float[b,2,p,4] pk, float[b,2,p,4] pv"


def standard(body=STANDARD, inputs=STANDARD_INPUTS, outputs=OUTPUTS):
    return model(body, inputs, outputs, opset=23)


@pytest.mark.parametrize("past", [0, 4])
def test_a_cache_of_the_standard_operator(past):
    rules = {"give-attention-cache": 1}
    assert_near(standard(), FuseAttention(), ["Attention"], rules, sizes={"b": 2, "p": past})


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        (STANDARD.replace("scale = 0.3", "scale = 0.3, is_causal = 1"), OUTPUTS),
        (
            STANDARD.replace("Concat<axis = 2>(pk, k)", "Concat<axis = 2>(k, pk)") + " h = Shape(jk)",
            f"{OUTPUTS}, int64[*] h",
        ),
        (STANDARD.replace("(q, jk, jv)", "(q, jk, jk)"), OUTPUTS),
    ],
)
def test_causal_operators_and_other_readers_stay(body, outputs):
    assert_untouched(standard(body, outputs=outputs), FuseAttention())


def test_spelt_attention_with_a_cache_becomes_the_standard_operator():
    proto = spelt(inputs=INPUTS.replace("b,s,8", "b,3,8"), opset=23)
    rules = {"use-attention": 1, "give-attention-cache": 1, "join-attention-heads": 1}
    outcome = assert_near(proto, FuseAttention(), ["Attention"], rules, sizes=SIZES)
    (node,) = outcome.ir.graph.nodes
    assert (2, 2, 3) == (node.int_attr("q_num_heads"), node.int_attr("kv_num_heads"), len(node.outputs))


def test_rows_that_may_be_none_stay_spelt():
    assert_untouched(spelt(opset=23), FuseAttention())


@pytest.mark.parametrize("low", [-3.4e38, -1e32])
def test_low_numbers_of_masks_are_raised(low):
    """The kernel gives 0 for a row of lowest numbers, where softmax gives equal weights."""
    body = MASKED.replace("x = Add(w, m)", "f = Cast<to = 9>(m) g = Where(f, zero, low) x = Add(w, g)")
    proto = _masked(body, low)
    rules = {"use-attention": 1, "give-attention-cache": 1, "join-attention-heads": 1}
    outcome = transform(proto, FuseAttention())
    assert (rules, ["Cast", "Where", "Max", "Attention"]) == (outcome.applied, outcome.ops)
    feeds = _feeds()
    for before, after in zip(run(proto, feeds), run(outcome.after, feeds), strict=True):
        np.testing.assert_allclose(after.astype(np.float64), before.astype(np.float64), atol=1e-6)


def _masked(body, low):
    inputs = "float[2,3,8] q, float[2,3,8] k, float[2,3,8] v, float[2,2,4,4] pk, float[2,2,4,4] pv, float[2,1,3,7] m"
    return model(
        body,
        inputs,
        OUTPUTS,
        opset=23,
        initializers={**SPLIT, "c": np.float32(0.5), "zero": np.float32(0), "low": np.float32(low)},
    )


def _feeds():
    rng = np.random.default_rng(3)
    feeds = {name: rng.normal(size=(2, 3, 8)).astype(np.float32) for name in "qkv"}
    feeds |= {name: rng.normal(size=(2, 2, 4, 4)).astype(np.float32) for name in ("pk", "pv")}
    feeds["m"] = (rng.random((2, 1, 3, 7)) < 0.5).astype(np.float32)
    feeds["m"][0, 0, 1] = 0
    return feeds


def test_rows_of_minus_infinity_stay_spelt_unless_they_are_guarded():
    body = MASKED.replace("x = Add(w, m)", "f = Cast<to = 9>(m) g = Where(f, zero, low) x = Add(w, g)")
    assert_untouched(_masked(body, -np.inf), FuseAttention())
    guarded = body.replace(
        "p = Softmax<axis = -1>(x)", "p0 = Softmax<axis = -1>(x) i = IsNaN(p0) p = Where(i, zero, p0)"
    )
    proto = _masked(guarded, -np.inf)
    outcome = transform(proto, FuseAttention())
    assert ["Cast", "Where", "Attention"] == outcome.ops
    feeds = _feeds()
    for before, after in zip(run(proto, feeds), run(outcome.after, feeds), strict=True):
        np.testing.assert_allclose(after.astype(np.float64), before.astype(np.float64), atol=1e-6)


TURNED = (
    "qr = Reshape(q, split) qh = Transpose<perm = [0, 2, 1, 3]>(qr) qt = RotaryEmbedding(qh, cos, sin) "
    "kr = Reshape(k, split) kh = Transpose<perm = [0, 2, 1, 3]>(kr) kt = RotaryEmbedding(kh, cos, sin) "
    "vr = Reshape(v, split) vh = Transpose<perm = [0, 2, 1, 3]>(vr) jk = Concat<axis = 2>(pk, kt) jv = Concat<axis = -2>(pv, vh) "
    "o = Attention(qt, jk, jv) oh = Transpose<perm = [0, 2, 1, 3]>(o) y = Reshape(oh, join)"
)


def test_turned_heads_are_joined_too():
    proto = model(
        TURNED,
        f"{INPUTS}, float[b,s,2] cos, float[b,s,2] sin",
        OUTPUTS,
        opset=23,
        initializers=SPLIT,
    )
    rules = {"rotate-joined-heads": 2, "give-attention-cache": 1, "join-attention-heads": 1}
    assert_near(proto, FuseAttention(), ["RotaryEmbedding", "RotaryEmbedding", "Attention"], rules, sizes=SIZES)


def test_turned_heads_that_others_read_stay():
    proto = model(
        "qr = Reshape(q, split) qh = Transpose<perm = [0, 2, 1, 3]>(qr) y = RotaryEmbedding(qh, cos, sin)",
        "float[b,s,8] q, float[b,s,2] cos, float[b,s,2] sin",
        opset=23,
        initializers={"split": SPLIT["split"]},
    )
    untouched(proto, FuseMicrosoftAttention())
