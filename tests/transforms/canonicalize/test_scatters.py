"""ScatterND that overwrites everything goes."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.testing import assert_no_rewrite, assert_rewrites
from graphopt.transforms.canonicalize.scatters import RULES
from tests.transforms.harness import model

COUNTED = "s = Shape(x) n = Gather(s, first) r = Range(first, n, one) "
CONSTANTS = {
    "first": np.array(0),
    "one": np.array(1),
    "two": np.array(2),
    "last": np.array([-1]),
    "all": np.array([[0], [1], [2]]),
}


def of(
    body: str, inputs: str = "float[n,4] x, float[n,4] u", opset: int = 17, more: dict[str, np.ndarray] | None = None
):
    constants = {
        name: array for name, array in {**CONSTANTS, **(more or {})}.items() if f"{name})" in body or f"{name}," in body
    }
    return model(body, inputs, opset=opset, initializers=constants)


@pytest.mark.parametrize("opset", [13, 16, 18, 21])
def test_all_places_of_a_dynamic_axis(opset):
    assert_rewrites(
        RULES, of(f"{COUNTED} p = Unsqueeze(r, last) y = ScatterND(x, p, u)", opset=opset), {"eliminate-scatter": 1}
    )


def test_all_places_of_a_known_axis():
    assert_rewrites(RULES, of("y = ScatterND(x, all, u)", "float[3,4] x, float[3,4] u"), {"eliminate-scatter": 1})


@pytest.mark.parametrize(
    ("body", "inputs"),
    [
        (f"{COUNTED} p = Unsqueeze(r, last) y = ScatterND<reduction = \"add\">(x, p, u)", "float[n,4] x, float[n,4] u"),
        (f"{COUNTED} p = Unsqueeze(r, first1) y = ScatterND(x, p, v)", "float[n,4] x, float[1,4] v"),  # one place with two coordinates
        ("s = Shape(u) n = Gather(s, first) r = Range(first, n, one) p = Unsqueeze(r, last) y = ScatterND(x, p, u)",
         "float[m,4] x, float[n,4] u"),  # places of another axis
        ("s = Shape(x) n = Gather(s, first) r = Range(first, n, two) p = Unsqueeze(r, last) y = ScatterND(x, p, v)",
         "float[n,4] x, float[k,4] v"),
        ("s = Shape(x) n = Gather(s, one) r = Range(first, n, one) p = Unsqueeze(r, last) y = ScatterND(x, p, v)",
         "float[5,4] x, float[4,4] v"),
        ("y = ScatterND(x, swapped, u)", "float[3,4] x, float[3,4] u"),
        ("y = ScatterND(x, all, u)", "float[4,4] x, float[3,4] u"),  # the last row stays
    ],
)  # fmt: skip
def test_other_places_stay(body, inputs):
    more = {"first1": np.array([0]), "swapped": np.array([[1], [0], [2]])}
    assert_no_rewrite(RULES, of(body, inputs, more=more))
