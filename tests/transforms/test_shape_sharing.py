"""Of several tensors that hold the same sizes one is computed; nothing else is merged."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.shape_sharing import ShareShapeValues
from tests.transforms.whole_graph import optimize, parse

RUN = ShareShapeValues()
FEEDS = {"x": np.zeros((2, 3, 4), np.float32), "z": np.ones((2, 5), np.float32), "c": np.array(True)}
IO = "float[b,s,4] x, float[b,t] z, bool c"


def shared(body: str, outputs: str, constants: str = "") -> int:
    model = parse(f'<ir_version: 8, opset_import: ["": 17]> g ({IO}) => ({outputs}) <{constants}> {{ {body} }}')
    return optimize(model, RUN, FEEDS).result.stats.get("values", 0)


@pytest.mark.parametrize(
    ("body", "outputs", "count"),
    [
        ("a = Shape(x) p = Gather(a, k) b = Shape(z) q = Gather(b, k) y = Add(p, q)", "int64 y", 1),
        ("r = Relu(x) a = Shape(x) b = Shape(r) y = Add(a, b)", "int64[3] y", 1),
        ("a = Shape(x) p = Gather(a, k) b = Shape(z) q = Gather(b, o) y = Add(p, q)", "int64 y", 0),
        ("a = Shape(x) p = Gather(a, k) q = Gather(a, l) y = Add(p, q)", "int64[1] y", 0),
        (
            "a = Shape(x) p = Gather(a, k) b = Shape(z) q = Gather(b, k) d = Cast<to=6>(q) y = Cast<to=7>(d) w = Neg(p)",
            "int64 y, int64 w",
            1,
        ),
        ("a = Shape(x) p = Gather(a, k) b = Shape(z) y = Gather(b, k) w = Neg(p)", "int64 y, int64 w", 0),
        ("n = NonZero(x) m = NonZero(x) a = Shape(n) b = Shape(m) y = Add(a, b)", "int64[2] y", 0),
    ],
    ids=["equal sizes", "shapes", "other sizes", "other shapes", "other types", "outputs", "sizes that may differ"],
)
def test_equal_sizes_are_computed_once(body, outputs, count):
    assert count == shared(body, outputs, "int64 k = {0}, int64 o = {1}, int64[1] l = {0}")


def test_a_body_reads_what_is_known_around_it_and_nothing_of_another_body():
    body = """a = Shape(x) p = Gather(a, k)
        y = If(c) <then_branch = t () => (int64 u) { b = Shape(z) q = Gather(b, k) f = Gather(b, o) g = Add(q, f) u = Neg(g) },
                   else_branch = e () => (int64 v) { b = Shape(z) f = Gather(b, o) v = Neg(f) }>
        w = Neg(p)"""
    assert 1 == shared(body, "int64 y, int64 w", "int64 k = {0}, int64 o = {1}")


def test_what_died_meanwhile_is_not_read():
    """The sum gives way to the shape, so that its parts die; the next equal part must not read them."""
    body = """a = Shape(x) p = Gather(a, f) q = Gather(a, g) h = Concat<axis=0>(p, q, four) r = Reshape(x, h)
        b = Shape(z) d = Gather(b, f) e = Concat<axis=0>(d, m) y = Reshape(r, e)"""
    assert 1 == shared(
        body, "float[p,q] y", "int64[1] f = {0}, int64[1] g = {1}, int64[1] four = {4}, int64[1] m = {-1}"
    )
