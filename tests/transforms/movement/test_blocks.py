"""Pixel shuffles, their reverse, and strided slices that are joined."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.canonicalize import Canonicalize
from tests.transforms.harness import assert_exact, assert_untouched, model

STEP = Canonicalize()
RESHAPES, SLICES = {"depth-to-space-from-reshapes": 1}, {"space-to-depth-from-slices": 1}
LARGEST = (1 << 63) - 1


def chain(first, perm, second, shape="N,8,3,5", opset=13, outputs="float[*] y", more=""):
    body = f"a = Reshape(x, first) b = Transpose<perm={perm}>(a) c = Reshape(b, second) y = Exp(c) {more}"
    arrays = {"first": np.array(first, np.int64), "second": np.array(second, np.int64)}
    return model(body, f"float[{shape}] x", outputs, opset=opset, initializers=arrays)


@pytest.mark.parametrize(
    ("first", "perm", "second", "shape", "op", "mode"),
    [
        ([-1, 2, 2, 2, 3, 5], [0, 1, 4, 2, 5, 3], [-1, 2, 6, 10], "N,8,3,5", "DepthToSpace", "CRD"),
        ([-1, 2, 2, 2, 3, 5], [0, 3, 4, 1, 5, 2], [-1, 2, 6, 10], "N,8,3,5", "DepthToSpace", "DCR"),
        ([-1, 1, 3, 3, 3, 5], [0, 1, 4, 2, 5, 3], [-1, 1, 9, 15], "N,9,3,5", "DepthToSpace", "CRD"),
        ([-1, 3, 2, 2, 3, 2], [0, 3, 5, 1, 2, 4], [-1, 12, 2, 3], "N,3,4,6", "SpaceToDepth", None),
    ],
)
def test_reshapes(first, perm, second, shape, op, mode):
    outcome = assert_exact(chain(first, perm, second, shape), STEP, [op, "Exp"], RESHAPES)
    found = {item.name: item.s.decode() for item in outcome.after.graph.node[0].attribute if item.s}
    assert found.get("mode") == mode


def test_modes_need_opset_11():
    assert_untouched(chain([2, 2, 2, 2, 3, 5], [0, 1, 4, 2, 5, 3], [2, 2, 6, 10], "2,8,3,5", opset=9), STEP)
    blocks_first = chain([2, 2, 2, 2, 3, 5], [0, 3, 4, 1, 5, 2], [2, 2, 6, 10], "2,8,3,5", opset=9)
    assert_exact(blocks_first, STEP, ["DepthToSpace", "Exp"], RESHAPES)


@pytest.mark.parametrize(
    ("first", "perm", "second"),
    [
        ([2, 2, 2, 2, 3, 5], [0, 1, 4, 3, 5, 2], [2, 2, 6, 10]),  # another order
        ([2, 2, 2, 2, 3, 5], [0, 1, 4, 2, 5, 3], [2, 2, 10, 6]),  # another shape
        ([2, 2, 4, 1, 3, 5], [0, 1, 4, 2, 5, 3], [2, 2, 12, 5]),  # blocks that are not square
        ([2, 2, 2, 2, 5, 3], [0, 1, 4, 2, 5, 3], [2, 2, 10, 6]),  # rows are no rows
    ],
)
def test_other_reshapes_stay(first, perm, second):
    assert_untouched(chain(first, perm, second, "2,8,3,5"), STEP)


def test_what_others_read_and_other_types_stay():
    first, perm, second = [2, 2, 2, 2, 3, 5], [0, 1, 4, 2, 5, 3], [2, 2, 6, 10]
    assert_untouched(chain(first, perm, second, "2,8,3,5", outputs="float[*] y, float[*] z", more="z = Neg(b)"), STEP)
    arrays = {"first": np.array(first, np.int64), "second": np.array(second, np.int64)}
    body = f"a = Reshape(x, first) b = Transpose<perm={perm}>(a) c = Reshape(b, second) y = Neg(c)"
    assert_untouched(model(body, "int64[2,8,3,5] x", "int64[2,2,6,10] y", initializers=arrays), STEP)


def slices(order=("00", "01", "10", "11"), shape="N,3,4,6", axis=1, end=LARGEST):
    parts = " ".join(f"p{place} = Slice(x, s{place}, e, a, t)" for place in order)
    body = f"{parts} c = Concat<axis={axis}>({', '.join(f'p{place}' for place in order)}) y = Exp(c)"
    arrays = {f"s{place}": np.array([int(place[0]), int(place[1])]) for place in order}
    more = {"e": np.array([end, end]), "a": np.array([2, 3]), "t": np.array([2, 2])}
    return model(body, f"float[{shape}] x", "float[*] y", initializers=arrays | more)


def test_slices_of_all_pixels_of_blocks():
    assert_exact(slices(), STEP, ["SpaceToDepth", "Exp"], SLICES)


@pytest.mark.parametrize(
    "proto",
    [
        slices(("00", "10", "01", "11")),  # column by column
        slices(shape="N,3,4,5"),  # not a multiple
        slices(shape="N,3,H,6"),  # of unknown size
        slices(axis=0),
        slices(end=4),
    ],
)
def test_other_slices_stay(proto):
    assert_untouched(proto, STEP)
