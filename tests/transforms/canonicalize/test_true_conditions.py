"""Conditions that hold for each element choose nothing."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.canonicalize import Canonicalize
from tests.transforms.harness import assert_exact, assert_untouched, model, transform

STEP = Canonicalize()
SIZE = "s = Shape<start = 0, end = 1>(x) n = Squeeze(s)"
COUNTED = "r = Range(zero, n, one) u = Unsqueeze(r, axes)"
MASK = "k = Concat<axis = 0>(s, s) e = Expand(c, k) m = Where(e, a, b)"
CONSTANTS: dict[str, np.ndarray] = {
    "zero": np.array(0, np.int64),
    "one": np.array(1, np.int64),
    "axes": np.array([1], np.int64),
    "a": np.array(0.5, np.float32),
    "b": np.array(-3e38, np.float32),
}


def masked(counted=COUNTED, compared="c = GreaterOrEqual(u, zero)"):
    body = f"{SIZE} {counted} {compared} {MASK} y = Mul(m, x)"
    words = body.replace("(", " ").replace(")", " ").replace(",", " ").split()
    used = {name: array for name, array in CONSTANTS.items() if name in words}
    return model(body, "float[q,q] x", opset=17, initializers=used)


def test_a_mask_of_nothing_is_a_number():
    """As torch.export masks attention that has no mask; the Expand of a number goes where a tensor of its size is beside it."""
    assert_exact(masked(), STEP, ["Mul"], {"resolve-true-where": 1, "drop-expand-before-broadcast": 1}, sizes={"q": 3})


@pytest.mark.parametrize(
    "proto",
    [
        masked(compared="c = Greater(u, zero)"),
        masked(counted="r = Range(one, n, one) u = Unsqueeze(r, axes)", compared="c = Less(u, zero)"),
        masked(counted="r = Range(n, one, one) u = Unsqueeze(r, axes)"),
        masked(counted="u = ArgMax<axis = 1>(x)"),
    ],
    ids=[
        "zero is not above zero",
        "other comparison",
        "start is not known",
        "nothing is counted",
    ],
)
def test_other_conditions_stay(proto):
    """Near misses: each differs by one thing."""
    assert_untouched(proto, STEP)


def test_a_tensor_that_is_chosen_is_left_to_others():
    """Only numbers are expanded here."""
    mask = MASK.replace("Where(e, a, b)", "Where(e, x, b)")
    proto = model(
        f"{SIZE} {COUNTED} c = GreaterOrEqual(u, zero) {mask} y = Neg(m)",
        "float[q,q] x",
        opset=17,
        initializers={name: array for name, array in CONSTANTS.items() if name != "a"},
    )
    assert "resolve-true-where" not in transform(proto, STEP).applied
