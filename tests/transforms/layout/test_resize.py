"""Convolutions of single elements run before an enlargement, where that computes less."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.layout import ConvolveBeforeResize
from tests.transforms.harness import assert_near, assert_untouched, model

STEP = ConvolveBeforeResize()
ONE, SEVERAL = {"convolve-before-resize": 1}, {"convolve-before-concat": 1}
TWICE = np.array([1, 1, 2, 2], np.float32)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("mode", ["linear", "nearest"])
@pytest.mark.parametrize("how", ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"])
def test_one_enlargement(mode, how):
    constants = {"z": TWICE, "w": normal(3, 6, 1, 1), "b": normal(3)}
    body = f'r = Resize<mode="{mode}", coordinate_transformation_mode="{how}">(x,, z) y = Conv(r, w, b)'
    assert_near(model(body, "float[N,6,4,3] x", initializers=constants), STEP, ["Conv", "Resize"], ONE)


def test_sizes_get_the_new_number_of_channels():
    constants = {"z": np.array([2, 6, 7, 5]), "w": normal(3, 6, 1, 1)}
    proto = model('r = Resize<mode="linear">(x,,, z) y = Conv(r, w)', "float[2,6,4,3] x", initializers=constants)
    assert_near(proto, STEP, ["Conv", "Resize"], ONE)


@pytest.mark.parametrize("first", ["a, c", "c, a"])
def test_concatenation_of_an_enlargement_and_more(first):
    constants = {"z": TWICE, "w": normal(2, 9, 1, 1), "b": normal(2)}
    counts = {"a": "6", "c": "3"}
    proto = model(
        f'a = Resize<mode="linear">(x,, z) c = Relu(u) k = Concat<axis=1>({first}) y = Conv(k, w, b)',
        f"float[N,{counts['a']},4,3] x, float[N,{counts['c']},8,6] u",
        initializers=constants,
    )
    ops = ["Relu", "Conv", "Resize", "Conv", "Add"] if first == "a, c" else ["Relu", "Conv", "Conv", "Resize", "Add"]
    assert_near(proto, STEP, ops, SEVERAL)


def test_three_enlargements_are_summed():
    constants = {"z": TWICE, "w": normal(2, 9, 1, 1), "b": normal(2)}
    proto = model(
        'a = Resize<mode="linear">(x,, z) c = Resize(u,, z) d = Resize(v,, z) k = Concat<axis=-3>(a, c, d, a2) y = Conv(k, w, b)'.replace(
            ", a2", ""
        ),
        "float[2,3,4,3] x, float[2,3,4,3] u, float[2,3,4,3] v",
        initializers=constants,
    )
    assert_near(proto, STEP, ["Conv", "Resize"] * 3 + ["Add", "Add"], SEVERAL)


@pytest.mark.parametrize(
    ("body", "w", "more"),
    [
        ('r = Resize<mode="cubic">(x,, z) y = Conv(r, w)', (3, 6, 1, 1), {"z": TWICE}),
        ("r = Resize(x,, z) y = Conv(r, w)", (7, 6, 1, 1), {"z": TWICE}),  # more channels afterwards
        ("r = Resize(x,, z) y = Conv(r, w)", (3, 6, 2, 1), {"z": TWICE}),  # several places
        ("r = Resize(x,, z) y = Conv<pads=[1,1,1,1]>(r, w)", (3, 6, 1, 1), {"z": TWICE}),
        ("r = Resize(x,, z) y = Conv(r, w)", (3, 6, 1, 1), {"z": np.array([1, 1, 0.5, 2], np.float32)}),
        ("r = Resize(x,, z) y = Conv(r, w)", (3, 12, 1, 1), {"z": np.array([1, 2, 2, 2], np.float32)}),  # channels too
        (
            "r = Resize(x,, z) y = Conv(r, w)",
            (3, 6, 1, 1),
            {"z": np.array([1, 1, 1, 1.2], np.float32)},
        ),  # hardly larger
        (
            'r = Resize<mode="linear", coordinate_transformation_mode="tf_crop_and_resize">(x, q, z) y = Conv(r, w)',
            (3, 6, 1, 1),
            {"z": TWICE, "q": np.array([0, 0, 0, 0, 1, 1, 1, 1], np.float32)},
        ),
    ],
)
def test_what_stays(body, w, more):
    assert_untouched(model(body, "float[2,6,4,5] x", initializers={"w": normal(*w), **more}), STEP)


def test_second_user_keeps_the_enlargement():
    constants = {"z": TWICE, "w": normal(3, 6, 1, 1)}
    proto = model(
        "r = Resize(x,, z) y = Conv(r, w)", "float[2,6,4,3] x", "float[*] y, float[*] r", initializers=constants
    )
    assert_untouched(proto, STEP)
