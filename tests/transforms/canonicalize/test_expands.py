"""Expand, Tile, Pad, Resize and Upsample that change nothing."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.canonicalize import Canonicalize
from tests.transforms.harness import assert_exact, assert_same_bits, assert_untouched, feeds_for, model, run, transform

STEP = Canonicalize()


def ints(**arrays):
    return {name: np.array(numbers, np.int64) for name, numbers in arrays.items()}


@pytest.mark.parametrize(
    ("shape", "target", "gone"),
    [
        ("2,3", [2, 3], True),
        ("2,3", [1, 3], True),
        ("2,3", [3], True),
        ("N,3", [1, 1], True),
        ("N,3", [1], True),
        ("N,3", [2, 1], False),
        ("1,3", [2, 1], False),
        ("2,3", [1, 2, 3], False),
        ("0,3", [0, 3], True),
        ("1,3", [0, 3], False),
    ],
)
def test_expand(shape, target, gone):
    proto = model("a = Expand(x, s) y = Exp(a)", f"float[{shape}] x", initializers=ints(s=target))
    outcome = transform(proto, STEP)
    assert (["Exp"] if gone else ["Expand", "Exp"]) == outcome.ops
    feeds = feeds_for(proto)
    assert_same_bits(run(proto, feeds), run(outcome.after, feeds))


def test_expand_of_unknown_rank_or_to_a_computed_shape_stays():
    assert_untouched(model("y = Expand(x, s)", "float[*] x", initializers=ints(s=[1, 1])), STEP)
    assert_untouched(model("y = Expand(x, s)", "float[1,3] x, int64[2] s"), STEP)


@pytest.mark.parametrize(("repeats", "ops"), [([1, 1], ["Exp"]), ([1, 2], ["Tile", "Exp"]), ([0, 1], ["Tile", "Exp"])])
@pytest.mark.parametrize("opset", [7, 13])
def test_tile(repeats, ops, opset):
    proto = model("a = Tile(x, r) y = Exp(a)", "float[N,3] x", opset=opset, initializers=ints(r=repeats))
    assert_exact(proto, STEP, ops, {"eliminate-tile": 1} if ops == ["Exp"] else {})


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
def test_pad_of_nothing(mode):
    for opset in (7, 10):
        proto = model(f'a = Pad<mode="{mode}", pads=[0,0,0,0]>(x) y = Exp(a)', opset=opset)
        assert_exact(proto, STEP, ["Exp"], {"eliminate-pad": 1})
    for opset in (11, 13, 18):
        proto = model(f'a = Pad<mode="{mode}">(x, p) y = Exp(a)', opset=opset, initializers=ints(p=[0] * 4))
        assert_exact(proto, STEP, ["Exp"], {"eliminate-pad": 1})
    proto = model(f'a = Pad<mode="{mode}">(x, p, , s) y = Exp(a)', initializers=ints(p=[0, 0], s=[1]))
    assert_exact(proto, STEP, ["Exp"], {"eliminate-pad": 1})


def test_pad_of_something_stays():
    assert_untouched(model("y = Pad(x, p)", initializers=ints(p=[0, 1, 0, 0])), STEP)
    assert_untouched(model("y = Pad(x, p)", initializers=ints(p=[0, 1, 0, -1])), STEP)
    assert_untouched(model("y = Pad(x, p)", "float[2,3] x, int64[4] p"), STEP)


ONES = np.ones(4, np.float32)


@pytest.mark.parametrize("mode", ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"])
@pytest.mark.parametrize("opset", [11, 13, 18, 19])
def test_resize_by_one_in_all_coordinate_modes(mode, opset):
    text = f'a = Resize<mode="nearest", coordinate_transformation_mode="{mode}">(x, , s) y = Exp(a)'
    proto = model(text, "float[1,2,N,4] x", opset=opset if opset != 11 else 13, initializers={"s": ONES})
    assert_exact(proto, STEP, ["Exp"], {"eliminate-resize": 1}, sizes={"N": 5})


def test_resize_to_the_same_sizes():
    proto = model("a = Resize(x, , , s) y = Exp(a)", "float[1,2,3,4] x", initializers=ints(s=[1, 2, 3, 4]))
    assert_exact(proto, STEP, ["Exp"], {"eliminate-resize": 1})
    proto = model("a = Resize<axes=[3,2]>(x, , , s) y = Exp(a)", "float[1,2,3,4] x", initializers=ints(s=[4, 3]))
    assert_exact(proto, STEP, ["Exp"], {"eliminate-resize": 1})
    assert_untouched(model("y = Resize(x, , , s)", "float[1,2,N,4] x", initializers=ints(s=[1, 2, 3, 4])), STEP)
    assert_untouched(model("y = Resize(x, , , s)", "float[1,2,3,4] x", initializers=ints(s=[1, 2, 6, 4])), STEP)


def test_other_resizes_stay():
    shape = "float[1,2,3,4] x"
    assert_untouched(model('y = Resize<mode="linear">(x, , s)', shape, initializers={"s": ONES}), STEP)
    assert_untouched(model("y = Resize(x, , s)", shape, initializers={"s": ONES * 2}), STEP)
    crop = 'y = Resize<coordinate_transformation_mode="tf_crop_and_resize">(x, r, s)'
    roi = np.array([0, 0, 0, 0, 1, 1, 0.5, 0.5], np.float32)
    assert_untouched(model(crop, shape, initializers={"s": ONES, "r": roi}), STEP)


@pytest.mark.parametrize(("scales", "ops"), [([1, 1, 1, 1], ["Exp"]), ([1, 1, 2, 2], ["Upsample", "Exp"])])
def test_upsample(scales, ops):
    shape, applied = "float[1,2,3,4] x", {"eliminate-resize": 1} if ops == ["Exp"] else {}
    stated = [float(scale) for scale in scales]
    assert_exact(model(f"a = Upsample<scales={stated}>(x) y = Exp(a)", shape, opset=7), STEP, ops, applied)
    constants = {"s": np.array(scales, np.float32)}
    assert_exact(model("a = Upsample(x, s) y = Exp(a)", shape, opset=9, initializers=constants), STEP, ops, applied)
