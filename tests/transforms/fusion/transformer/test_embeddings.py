"""Embeddings that are summed and normalized become one operator, and are spelled out again."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.ir import Array
from graphopt.transforms.decompose import DecomposeTransformerOps
from graphopt.transforms.fusion.transformer import FuseTransformerOps
from tests.transforms.fusion.for_ort import ORT
from tests.transforms.harness import assert_close, model, run, transform

OP = "com.microsoft::EmbedLayerNormalization"
RULE = {"fuse-embed-layer-norm": 1}
BACK = {"spell-out-embed-layer-norm": 1}
RNG = np.random.default_rng(5)
TABLES: dict[str, Array | np.generic] = {
    **{name: RNG.normal(size=(rows, 4)).astype(np.float32) for name, rows in (("w", 9), ("p", 6), ("t", 2))},
    **{name: RNG.normal(size=4).astype(np.float32) for name in "ge"},
    "all": RNG.normal(size=(1, 3, 4)).astype(np.float32),
}
NORM = "y = LayerNormalization<axis = -1, epsilon = 1e-6>(s, g, e)"
LOOKED_UP = "a = Gather(w, ids) b = Gather(p, places) c = Gather(t, kinds) "
THREE = f"{LOOKED_UP}h = Add(a, b) s = Add(h, c) {NORM}"
INPUTS = "int64[b,3] ids, int64[b,3] kinds, int64[1,3] places"
IDS = {
    "ids": np.array([[8, 0, 3], [1, 1, 2]]),
    "kinds": np.array([[0, 1, 1], [1, 0, 0]]),
    "places": np.array([[5, 0, 2]]),
}


def made(body=THREE, inputs=INPUTS, outputs="float[*] y", **constants):
    known = {**TABLES, **constants}
    return model(
        body,
        inputs,
        outputs,
        opset=17,
        initializers={k: v for k, v in known.items() if f"{k}," in body or f"{k})" in body},
    )


def agree(proto, dtype=np.int64):
    """There and back, the numbers are the same; the operators of the first way."""
    fused = transform(proto, FuseTransformerOps(), target=ORT)
    assert RULE == fused.applied
    apart = transform(fused.after, DecomposeTransformerOps())
    assert BACK == apart.applied
    given = {item.name for item in proto.graph.input}
    feeds = {name: array.astype(dtype) for name, array in IDS.items() if name in given}
    before = run(proto, feeds)
    assert_close(before, run(fused.after, feeds), 1e-5)
    assert_close(before, run(apart.after, feeds), 1e-5)
    return fused.ops


def test_three_tables():
    assert ["Cast", "Cast", "Cast", OP] == agree(made())


def test_indices_of_32_bits_are_taken_as_they_are():
    assert [OP] == agree(made(inputs=INPUTS.replace("int64", "int32")), np.int32)


@pytest.mark.parametrize(
    ("body", "inputs"),
    [
        (
            f"a = Gather(w, ids) c = Gather(t, kinds) h = Add(c, all) s = Add(a, h) {NORM}",
            "int32[b,3] ids, int32[b,3] kinds",
        ),
        (f"a = Gather(w, ids) s = Add(all, a) {NORM}", "int32[b,3] ids"),
        (f"a = Gather(w, ids) b = Gather(p, rows) s = Add(a, b) {NORM}", "int32[b,3] ids"),
    ],
)
@pytest.mark.parametrize("rows", [(0, 1, 2), (2, 0, 5)])
def test_positions_that_are_known(body, inputs, rows):
    assert [OP] == agree(made(body, inputs, rows=np.array([rows])), np.int32)


@pytest.mark.parametrize(
    ("positions", "length", "ops"),
    [
        ("r = Slice(rows, zero, three, one) ", "3", [OP]),
        ("r = Slice(rows, one, four, one) ", "3", ["Slice", "Cast", OP]),
        (
            "k = Shape<start = 1, end = 2>(ids) l = Squeeze(k, zero) q = Range(none, l, step) r = Unsqueeze(q, zero) ",
            "s",
            [OP],
        ),
    ],
)
def test_positions_that_are_counted(positions, length, ops):
    """They need no indices; what starts elsewhere does."""
    numbers = {name: np.array([k]) for name, k in (("zero", 0), ("one", 1), ("three", 3), ("four", 4))}
    body = f"{positions}a = Gather(w, ids) b = Gather(p, r) s = Add(a, b) {NORM}"
    proto = made(body, f"int32[b,{length}] ids", rows=np.arange(6)[None], none=np.array(0), step=np.array(1), **numbers)
    assert ops == agree(proto, np.int32)


def test_positions_of_each_member():
    inputs = "int32[b,3] ids, int32[b,3] kinds"
    body = f"a = Gather(w, ids) b = Gather(p, kinds) s = Add(a, b) {NORM}"
    assert [OP] == agree(made(body, inputs), np.int32)


@pytest.mark.parametrize(
    ("body", "inputs", "outputs"),
    [
        (THREE, INPUTS.replace("[1,3] places", "[c,3] places"), "float[*] y"),
        (THREE.replace("axis = -1", "axis = 1"), INPUTS, "float[*] y"),
        (f"{THREE} z = Neg(s)", INPUTS, "float[*] y, float[*] z"),
        (
            THREE.replace("Gather(t, kinds)", "Gather<axis = 1>(t4, kinds)"),
            INPUTS.replace("[b,3] kinds", "[4] kinds"),
            "float[*] y",
        ),
        (THREE.replace("h = Add(a, b)", "h = Mul(a, b)"), INPUTS, "float[*] y"),
        (THREE.replace("Gather(t, kinds)", "Gather(q, kinds)"), f"{INPUTS}, float[2,4] q", "float[*] y"),
        (f"a = Gather(w, ids) b = Gather(p, rows) s = Add(a, b) {NORM}", "int64[b,3] ids", "float[*] y"),
    ],
)
def test_what_is_no_sum_of_embeddings_stays(body, inputs, outputs):
    proto = made(body, inputs, outputs, rows=np.array([[-1, 0, 1]]), t4=np.ones((3, 4), np.float32))
    assert {} == transform(proto, FuseTransformerOps(), target=ORT).applied


def test_targets_without_the_operator_do_not_get_it():
    assert {} == transform(made(), FuseTransformerOps()).applied


def test_empty_batches_keep_their_shapes():
    proto = made(inputs=INPUTS.replace("int64", "int32"))
    after = transform(proto, FuseTransformerOps(), target=ORT).after
    feeds = {name: (array if name == "places" else array[:0]).astype(np.int32) for name, array in IDS.items()}
    assert (0, 3, 4) == run(proto, feeds)[0].shape == run(after, feeds)[0].shape
