"""A normalization behind a flattened product goes into its weights."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.layout import MergeLinear
from tests.transforms.harness import assert_near, assert_untouched, model

STEP = MergeLinear()
APPLIED = {"fold-batch-norm-into-flattened-product": 1}


def constants(columns=5, sign=1.0, **more):
    rng = np.random.default_rng(0)
    found = {name: np.abs(rng.normal(size=columns)).astype(np.float32) for name in ("s", "b", "m", "v")}
    return found | {"v": sign * found["v"], "w": rng.normal(size=(4, columns)).astype(np.float32)} | more


def proto(flat, x="float[N,3,4] x", more=None, outputs="float[*] y", body="y = BatchNormalization(f, s, b, m, v)"):
    return model(f"p = MatMul(x, w) f = {flat} {body}", x, outputs, initializers=constants() if more is None else more)


@pytest.mark.parametrize("flat", ["Flatten<axis=2>(p)", "Flatten<axis=-1>(p)", "Reshape(p, t)"])
def test_normalization_goes_into_the_product(flat):
    assert_near(proto(flat, more=constants(t=np.array([-1, 5]))), STEP, ["Flatten", "Gemm"], APPLIED)


def test_a_matrix_needs_no_flattening():
    assert_near(proto("Flatten<axis=1>(p)", "float[N,4] x"), STEP, ["Gemm"], APPLIED)


@pytest.mark.parametrize(
    "kept",
    [
        proto("Flatten<axis=1>(p)", more=constants(15, w=constants(5)["w"])),  # places become columns
        proto("Reshape(p, t)", more=constants(3, w=constants(5)["w"], t=np.array([-1, 3]))),
        proto("Flatten<axis=2>(p)", more=constants(sign=-9.0)),  # no root
        proto("Flatten<axis=2>(p)", outputs="float[*] y, float[*] p"),
        proto("Flatten<axis=2>(p)", outputs="float[*] y, float[*] f"),
        proto("Flatten<axis=2>(p)", body="y, q, r = BatchNormalization<training_mode=1>(f, s, b, m, v)"),
        proto("Neg(p)", "float[N,4] x"),
    ],
)
def test_what_stays(kept):
    assert_untouched(kept, STEP)
