"""Attention with caches and shared heads is spelled out, and means the same."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.testing.strategies.choices import SeededChoices
from graphopt.transforms.decompose import DecomposeAttention
from graphopt.transforms.fusion.attention import FuseAttention, FuseMicrosoftAttention
from tests.testing import handmade_caches
from tests.transforms.fusion.for_ort import ORT
from tests.transforms.harness import assert_close, feeds_for, model, run, transform

SIZES = {"b": 2, "s": 3, "p": 4}


def normal(proto, sizes=None):
    rng = np.random.default_rng(1)
    return {name: rng.normal(size=array.shape).astype(array.dtype) for name, array in feeds_for(proto, sizes).items()}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("make", "fuse", "rule"),
    [
        ("cached_attention", FuseAttention, "spell-out-attention"),
        ("cached_multi_head", FuseMicrosoftAttention, "spell-out-multi-head-attention"),
        ("shared_heads", FuseMicrosoftAttention, "spell-out-group-query-attention"),
    ],
)
def test_there_and_back(make, fuse, rule, seed):
    proto = getattr(handmade_caches, make)(SeededChoices(seed))
    fused = transform(proto, fuse(), target=ORT)
    apart = transform(fused.after, DecomposeAttention())
    assert {rule: 1} == apart.applied
    feeds = normal(proto, SIZES)
    assert_close(run(proto, feeds), run(apart.after, feeds), 1e-5)


INPUTS = "float[2,3,24] q, float[2,3,8] k, float[2,3,10] v, float[2,2,p,4] pk, float[2,2,p,5] pv"
CALL = "y, jk, jv = Attention<q_num_heads = 6, kv_num_heads = 2{more}>(q, k, v, {mask}, pk, pv)"
OUTPUTS = "float[*] y, float[*] jk, float[*] jv"


def standard(more="", mask="", inputs=INPUTS):
    return model(CALL.format(more=more, mask=mask), inputs, OUTPUTS, opset=23)


@pytest.mark.parametrize("past", [0, 4])
@pytest.mark.parametrize("mask", ["", "float[2,6,3,{n}] m", "bool[2,1,3,{n}] m"])
def test_shared_heads_and_values_of_another_size(past, mask):
    inputs = INPUTS.replace("p,", f"{past},") + (f", {mask.format(n=past + 3)}" if mask else "")
    proto = standard(", scale = 0.4", "m" if mask else "", inputs)
    outcome = transform(proto, DecomposeAttention())
    assert {"spell-out-attention": 1} == outcome.applied
    feeds = normal(proto)
    if "m" in feeds:
        feeds["m"][..., 0] = 1
    assert_close(run(proto, feeds), run(outcome.after, feeds), 1e-5)


@pytest.mark.parametrize("more", [", is_causal = 1", ", softcap = 2.0"])
def test_what_is_more_than_attention_stays(more):
    assert {} == transform(standard(more), DecomposeAttention()).applied


GROUPED = "y, jk, jv = com.microsoft.GroupQueryAttention<num_heads = 2, kv_num_heads = 1{more}>(q, k, v, pk, pv, lengths, total)"


@pytest.mark.parametrize(
    ("more", "lengths", "applied"),
    [
        ("", 4, {"spell-out-group-query-attention": 1}),
        ("", 3, {}),
        (", local_window_size = 2", 4, {}),
        (", softcap = 1.5", 4, {}),
    ],
)
def test_only_plain_groups_are_spelled_out(more, lengths, applied):
    proto = model(
        GROUPED.format(more=more),
        "float[1,1,16] q, float[1,1,8] k, float[1,1,8] v, float[1,1,4,8] pk, float[1,1,4,8] pv",
        OUTPUTS,
        opset=17,
        initializers={"lengths": np.array([lengths], np.int32), "total": np.array(5, np.int32)},
        imports=', "com.microsoft" : 1',
    )
    outcome = transform(proto, DecomposeAttention())
    assert applied == outcome.applied
    feeds = normal(proto)
    assert_close(run(proto, feeds), run(outcome.after, feeds), 1e-5)


def test_queries_that_see_nothing_give_zeros():
    """So ONNX has it; the rule must not give NaN."""
    proto = model(
        "y = Attention(q, k, v, m)",
        "float[1,2,3,4] q, float[1,2,3,4] k, float[1,2,3,4] v, bool[3,3] m",
        "float[*] y",
        opset=23,
    )
    outcome = transform(proto, DecomposeAttention())
    feeds = normal(proto) | {"m": np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]], bool)}
    [found] = run(outcome.after, feeds)
    assert not found[:, :, 1].any()
    assert np.isfinite(found).all()
    assert found[:, :, ::2].any(axis=-1).all()


def test_windows_stay():
    proto = model(
        "y = Attention<left_window_size = 1>(q, k, v)",
        "float[1,2,3,4] q, float[1,2,3,4] k, float[1,2,3,4] v",
        "float[*] y",
        opset=25,
    )
    assert {} == transform(proto, DecomposeAttention()).applied
