"""What is done to each row that is looked up is done to the table."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.strength import ReduceStrength
from tests.transforms.harness import assert_close, assert_untouched, model, run, transform

STEP = ReduceStrength()
RULE = {"compute-in-table": 1}
RNG = np.random.default_rng(0)
GIVEN = {
    "e": RNG.normal(size=(5, 3)).astype(np.float32),
    "row": RNG.uniform(1, 2, 3).astype(np.float32),
    "one": np.array(1.5, np.float32),
    "wide": RNG.normal(size=(3, 2)).astype(np.float32),
    "more": RNG.normal(size=(3, 9)).astype(np.float32),
    "rows": RNG.normal(size=(2, 1)).astype(np.float32),
    "deep": RNG.normal(size=(1, 1, 1, 3)).astype(np.float32),
    "inf": np.array(np.inf, np.float32),
    "zero": np.array(0, np.float32),
}


def looked_up(body, shape="2,4", extra=""):
    given = {name: array for name, array in GIVEN.items() if f", {name}" in body or f"({name}" in body}
    return model(f"g = Gather(e, i) {body} {extra}", f"int64[{shape}] i", initializers=given | {"e": GIVEN["e"]})


@pytest.mark.parametrize(
    "body",
    ["Mul(g, row)", "Mul(one, g)", "Add(g, row)", "Add(row, g)", "Sub(g, one)", "Div(g, row)", "MatMul(g, wide)"],
)
@pytest.mark.parametrize("shape", ["2,4", "3", "n,2"])
def test_rows_are_computed_at_once(body, shape):
    proto = looked_up(f"y = {body}", shape)
    found = transform(proto, STEP)
    assert ["Gather"] == found.ops
    assert found.applied in (RULE, {"move-factor-into-weights": 1})
    feeds = {"i": np.array([[0, 4, 2, 1], [3, 3, -1, 0]])}
    if shape != "2,4":
        feeds["i"] = feeds["i"][0, :3] if shape == "3" else feeds["i"][:, :2]
    assert_close(run(proto, feeds), run(found.after, feeds), 1e-6)


@pytest.mark.parametrize(
    "body",
    [
        "y = MatMul(g, more)",
        "y = Add(g, rows)",
        "y = Add(g, deep)",
        "y = Mul(g, inf)",
        "y = Div(g, zero)",
        "y = Sub(one, g)",
        "a = Mul(g, one) y = Concat<axis = 0>(a, g)",
    ],
    ids=["grows", "rows", "more axes", "infinite", "zero", "turned", "two readers"],
)
def test_others_stay(body):
    assert_untouched(looked_up(body, "2"), STEP)


def test_a_table_that_somebody_else_reads_stays():
    proto = model(
        "g = Gather(e, i) a = Mul(g, one) y = MatMul(e, a)",
        "int64[3] i",
        initializers={n: GIVEN[n] for n in ("e", "one")},
    )
    assert_untouched(proto, STEP)


def test_columns_and_one_row_stay():
    given = {"e": GIVEN["e"], "one": GIVEN["one"], "wide": GIVEN["wide"]}
    columns = model(
        "g = Gather<axis = 1>(e, i) y = Add(g, one)", "int64[2] i", initializers={n: given[n] for n in ("e", "one")}
    )
    assert_untouched(columns, STEP)
    row = model("g = Gather(e, i) y = MatMul(g, wide)", "int64 i", initializers={n: given[n] for n in ("e", "wide")})
    assert_untouched(row, STEP)
