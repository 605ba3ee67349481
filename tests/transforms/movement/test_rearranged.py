"""Parts of a tensor in another order."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.canonicalize import Canonicalize
from tests.transforms.harness import assert_exact, assert_untouched, model

STEP = Canonicalize()
RULE = {"gather-rearranged-parts": 1}
SLICES = "a = Slice(x, n0, n2, n1) b = Slice(x, n2, n99, n1)"
SPLIT = "a, b = Split<axis=1>(x, parts)"


def proto(body, shape="N,5,16", outputs="float[*] y"):
    given = {f"n{number}": np.array([number], np.int64) for number in (0, 1, 2, 99)}
    given["parts"] = np.array([2, 3], np.int64)
    given = {name: array for name, array in given.items() if f"{name}," in body or f"{name})" in body}
    return model(body, f"float[{shape}] x", outputs, initializers=given)


@pytest.mark.parametrize("first", [SLICES, SPLIT])
def test_a_roll_is_one_lookup(first):
    outcome = assert_exact(proto(f"{first} c = Concat<axis=1>(b, a) y = Exp(c)"), STEP, ["Gather", "Exp"], RULE | (
        {"split-instead-of-slices": 1} if first == SLICES else {}
    ))  # fmt: skip
    (places,) = outcome.after.graph.initializer
    assert [2, 3, 4, 0, 1] == np.frombuffer(places.raw_data, np.int64).tolist()


def test_a_part_that_comes_twice():
    assert_exact(proto(f"{SPLIT} c = Concat<axis=1>(b, a, b) y = Exp(c)"), STEP, ["Gather", "Exp"], RULE)


@pytest.mark.parametrize(
    ("body", "shape", "outputs"),
    [
        (f"{SPLIT} c = Concat<axis=1>(b, a) y = Exp(c)", "N,5,8", "float[*] y"),  # little is copied at a time
        (f"{SPLIT} c = Concat<axis=1>(b, a) y = Exp(c)", "N,5,M", "float[*] y"),  # so much as is not known
        (f"{SPLIT} c = Concat<axis=1>(b, a) y = Exp(c) z = Neg(a)", "N,5,16", "float[*] y, float[*] z"),
        (f"{SPLIT} c = Concat<axis=1>(b, a) y = Exp(c)", "N,5,16", "float[*] y, float[N,2,16] a"),
        (
            f"{SPLIT} c = Concat<axis=1>(b, x) y = Exp(c) z = Abs(a)",
            "N,5,16",
            "float[*] y, float[*] z",
        ),  # not of parts only
        (f"{SPLIT} d = Neg(b) c = Concat<axis=1>(d, a) y = Exp(c)", "N,5,16", "float[*] y"),
        ("a, b = Split<axis=2, num_outputs=2>(x) c = Concat<axis=1>(b, a) y = Exp(c)", "N,5,16", "float[*] y"),
    ],
)
def test_others_stay(body, shape, outputs):
    assert_untouched(proto(body, shape, outputs), STEP)
