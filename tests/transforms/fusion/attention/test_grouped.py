"""One new position whose queries share heads of a cache becomes ONNX Runtime's GroupQueryAttention."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.target import KernelRange, KernelTable, Target
from graphopt.transforms.fusion.attention import FuseMicrosoftAttention
from tests.transforms.fusion.for_ort import ORT, near
from tests.transforms.harness import model, run, transform

OP = "com.microsoft::GroupQueryAttention"
RULE = "use-group-query-attention"
CACHES = (
    "kr = Reshape(k, split) kh = Transpose<perm = [0, 2, 1, 3]>(kr) vr = Reshape(v, split) vh = Transpose<perm = [0, 2, 1, 3]>(vr) "
    "jk = Concat<axis = 2>(pk, kh) jv = Concat<axis = -2>(pv, vh) "
)
REPEATED = (
    "ku = Unsqueeze(jk, two) ke = Expand(ku, times) ka = Reshape(ke, all) vu = Unsqueeze(jv, two) ve = Expand(vu, times) "
    "va = Reshape(ve, all) "
)
CALL = "y = com.microsoft.MultiHeadAttention<num_heads = 6, scale = 0.5>(q, ka, va)"
MASKED = CALL.replace("va)", "va, , , m)")
INPUTS = "float[2,1,48] q, float[2,1,16] k, float[2,1,16] v, float[2,2,p,8] pk, float[2,2,p,8] pv"
OUTPUTS = "float[*] y, float[*] jk, float[*] jv"
PREPARED = ["Shape", "Cast", "Add", "Expand"]
CONSTANTS = {
    "split": np.array([0, 0, 2, 8]),
    "two": np.array([2]),
    "times": np.array([1, 1, 3, 1, 1]),
    "all": np.array([2, 6, -1, 8]),
}


def made(tail=CALL, inputs=INPUTS, outputs=OUTPUTS, body=CACHES + REPEATED, **constants):
    known = {**CONSTANTS, **constants}
    return model(body + tail, inputs, outputs, opset=17, initializers=known, imports=', "com.microsoft" : 1')


@pytest.mark.parametrize("past", [0, 1, 5])
def test_heads_are_shared_and_caches_taken(past):
    outcome = near(made(), FuseMicrosoftAttention(), [*PREPARED, OP], {RULE: 1}, sizes={"p": past})
    node = next(node for node in outcome.ir.graph.nodes if node.op == OP)
    assert (6, 2) == (node.int_attr("num_heads"), node.int_attr("kv_num_heads"))
    assert ["y", "jk", "jv"] == [value.name for value in outcome.ir.graph.outputs]


def test_small_masks_are_handed_on():
    proto = made(MASKED, f"{INPUTS.replace('p,8', '4,8')}, float[2,1,1,5] n", body="m = Tanh(n) " + CACHES + REPEATED)
    assert_same = transform(proto, FuseMicrosoftAttention(), target=ORT)
    assert ["Tanh", *PREPARED, OP] == sorted(assert_same.ops, key=["Tanh", *PREPARED, OP].index)
    near(proto, FuseMicrosoftAttention(), assert_same.ops, {RULE: 1})


@pytest.mark.parametrize("low", [-3.4e38, -1e32])
def test_rows_of_low_numbers_keep_equal_weights(low):
    proto = made(
        MASKED,
        f"{INPUTS.replace('p,8', '4,8')}, bool[2,1,1,5] n",
        body="m = Where(n, zero, low) " + CACHES + REPEATED,
        zero=np.float32(0),
        low=np.float32(low),
    )
    outcome = transform(proto, FuseMicrosoftAttention(), target=ORT)
    assert ({RULE: 1}, 1) == (outcome.applied, outcome.ops.count("Max"))
    rng = np.random.default_rng(2)
    feeds = {name: rng.normal(size=shape).astype(np.float32) for name, shape in _SHAPES.items()}
    feeds["n"] = np.array([[True, False, True, False, True], [False] * 5]).reshape(2, 1, 1, 5)
    for before, after in zip(run(proto, feeds), run(outcome.after, feeds), strict=True):
        np.testing.assert_allclose(after.astype(np.float64), before.astype(np.float64), atol=1e-6)


_SHAPES = {"q": (2, 1, 48), "k": (2, 1, 16), "v": (2, 1, 16), "pk": (2, 2, 4, 8), "pv": (2, 2, 4, 8)}


@pytest.mark.parametrize(
    "inputs",
    [
        INPUTS.replace("[2,1,48]", "[b,1,48]"),
        INPUTS.replace("[2,1,48]", "[2,3,48]"),
        INPUTS.replace("[2,1,16] k, float[2,1,16]", "[2,3,16] k, float[2,3,16]"),
    ],
)
def test_batches_and_lengths_that_the_kernel_may_not_take_stay(inputs):
    assert {} == transform(made(inputs=inputs), FuseMicrosoftAttention(), target=ORT).applied


@pytest.mark.parametrize(
    ("tail", "outputs"),
    [
        (MASKED, OUTPUTS),
        (f"{CALL} h = Neg(ka)", f"{OUTPUTS}, float[*] h"),
        (f"{CALL} h = Neg(jk)", f"{OUTPUTS}, float[*] h"),
        (CALL.replace("scale = 0.5", "scale = 0.5, unidirectional = 1"), OUTPUTS),
    ],
)
def test_unknown_masks_and_other_readers_stay(tail, outputs):
    inputs = f"{INPUTS.replace('p,8', '4,8')}, float[2,1,1,5] m" if tail is MASKED else INPUTS
    assert {} == transform(made(tail, inputs, outputs), FuseMicrosoftAttention(), target=ORT).applied


def test_sizes_that_8_does_not_divide_stay():
    proto = made(
        inputs="float[2,1,24] q, float[2,1,8] k, float[2,1,8] v, float[2,2,p,4] pk, float[2,2,p,4] pv",
        split=np.array([0, 0, 2, 4]),
        all=np.array([2, 6, -1, 4]),
    )
    assert {} == transform(proto, FuseMicrosoftAttention(), target=ORT).applied


def test_heads_that_are_repeated_as_a_whole_stay():
    proto = made(two=np.array([1]), times=np.array([1, 3, 1, 1, 1]))
    assert {} == transform(proto, FuseMicrosoftAttention(), target=ORT).applied


def test_targets_without_a_kernel_for_float32_do_not_get_it():
    halves = KernelTable({OP: (KernelRange(dtypes=frozenset({"float16"})),)})
    target = Target("other", domains=frozenset({"com.microsoft"}), kernels=halves)
    assert {} == transform(made(), FuseMicrosoftAttention(), target=target).applied


GUARDED = MASKED.replace("y =", "o =") + " i = IsNaN(o) y = Where(i, zero, o)"


def test_a_guard_against_rows_of_minus_infinity_goes():
    proto = made(
        GUARDED,
        f"{INPUTS.replace('p,8', '4,8')}, bool[2,1,1,5] n",
        body="m = Where(n, zero, low) " + CACHES + REPEATED,
        zero=np.float32(0),
        low=np.float32(-np.inf),
    )
    outcome = transform(proto, FuseMicrosoftAttention(), target=ORT)
    assert ({RULE: 1}, False) == (outcome.applied, "IsNaN" in outcome.ops)
    rng = np.random.default_rng(2)
    feeds = {name: rng.normal(size=shape).astype(np.float32) for name, shape in _SHAPES.items()}
    feeds["n"] = np.array([[True, False, True, False, True], [False] * 5]).reshape(2, 1, 1, 5)
    for before, after in zip(run(proto, feeds), run(outcome.after, feeds), strict=True):
        np.testing.assert_allclose(after.astype(np.float64), before.astype(np.float64), atol=1e-6)
