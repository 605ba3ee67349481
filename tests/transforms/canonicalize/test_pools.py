"""Pooling over windows of one element."""

from __future__ import annotations

import pytest

from graphopt.transforms.canonicalize import Canonicalize, CanonicalizeAlgebra
from tests.transforms.harness import assert_near, assert_untouched, model

STEP = CanonicalizeAlgebra()
X = "float[1,2,3,4] x"
ONE = "kernel_shape=[1,1]"


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("more", ["", ", strides=[1,1], pads=[0,0,0,0]", ', auto_pad="SAME_UPPER"', ", ceil_mode=1"])
def test_windows_of_one_element_go(op, more):
    assert_near(model(f"a = {op}<{ONE}{more}>(x) y = Exp(a)", X), STEP, ["Exp"], {"eliminate-pool": 1}, rtol=0)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(
    "how", ["kernel_shape=[1,2]", f"{ONE}, strides=[1,2]", f"{ONE}, pads=[0,0,1,1], strides=[1,1]"]
)
def test_others_stay(op, how):
    assert_untouched(model(f"y = {op}<{how}>(x)", X), STEP)


def test_used_indices_stay():
    assert_untouched(model(f"y, i = MaxPool<{ONE}>(x)", X, "float[1,2,3,4] y, int64[1,2,3,4] i"), STEP)


def test_this_is_not_exact():
    """Runtimes start the maximum from the smallest finite number."""
    assert_untouched(model(f"y = MaxPool<{ONE}>(x)", X), Canonicalize())
