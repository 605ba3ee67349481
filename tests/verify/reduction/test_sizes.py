"""Sizes are cut down together, dynamic ones become numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from graphopt.ir import Model, SymbolicDim
from graphopt.runtime.base import Feeds
from graphopt.verify.reduction.shrinkers import FixSizes, ShrinkSizes
from tests.verify.reduction.searching import array_of, fails_when, has_ops, model_of, numbers, searched

NEG = "g (float[n,m] x) => (float[n,m] y) { y = Neg(x) }"


def _shape(model: Model) -> list[object]:
    return list(model.graph.inputs[0].shape or ())


def test_dynamic_sizes_become_those_of_the_inputs(tmp_path: Path) -> None:
    """In the interface, and in the types that follow from it."""
    search = searched(tmp_path, model_of(NEG), FixSizes(), has_ops("Neg"), [{"x": numbers(2, 3)}])
    assert ([2, 3], (2, 3)) == (_shape(search.case.model), search.case.model.graph.outputs[0].shape)


def test_dynamic_size_that_the_failure_needs_stays(tmp_path: Path) -> None:
    """The other becomes a number."""
    check = fails_when(lambda model: any(str(dim) == "n" for dim in _shape(model)))
    search = searched(tmp_path, model_of(NEG), FixSizes(), check, [{"x": numbers(2, 3)}])
    assert [SymbolicDim("n"), 3] == _shape(search.case.model)


def test_samples_of_different_sizes_keep_the_size_dynamic(tmp_path: Path) -> None:
    """No number would fit both."""
    feeds = [{"x": numbers(2, 3)}, {"x": numbers(4, 3)}]
    search = searched(tmp_path, model_of(NEG), FixSizes(), has_ops("Neg"), feeds)
    assert [SymbolicDim("n"), 3] == _shape(search.case.model)


def test_size_that_input_weight_and_shape_share_is_cut_in_all_of_them(tmp_path: Path) -> None:
    """A product of matrices and a Reshape to the same width still fit."""
    text = "g (float[6,8] x) => (float[2,3,8] y) <float[8,8] w, int64[3] s = {2,3,8}> { m = MatMul(x, w) y = Reshape(m, s) }"
    model = model_of(text.replace("float[8,8] w,", "float[8,8] w = {" + ",".join(["1"] * 64) + "},"))
    search = searched(tmp_path, model, ShrinkSizes(), has_ops("MatMul", "Reshape"), [{"x": numbers(6, 8)}])
    small = search.case.model
    weight = next(value for value in small.graph.initializers() if value.name == "w")
    assert 1 == array_of(weight).size
    assert search.recorder.runs(search.case)
    assert np.asarray(search.case.samples[0]["x"]).shape == tuple(_shape(small))


def test_channels_of_a_convolution_shrink_with_its_groups(tmp_path: Path) -> None:
    """A depthwise one has its channels in an attribute as well."""
    weights = ",".join(["1"] * 72)
    text = (
        f"g (float[1,8,5,5] x) => (float[1,8,3,3] y) <float[8,1,3,3] w = {{{weights}}}> {{ y = Conv<group=8>(x, w) }}"
    )
    search = searched(tmp_path, model_of(text), ShrinkSizes(), has_ops("Conv"), [{"x": numbers(1, 8, 5, 5)}])
    assert [1, 1] == _shape(search.case.model)[:2]
    assert search.recorder.runs(search.case)


def test_failure_that_needs_a_size_keeps_it(tmp_path: Path) -> None:
    """At least 4 rows; columns go to one."""

    def check(model: Model, samples: Sequence[Feeds]) -> str | None:
        return "it fails" if np.asarray(samples[0]["x"]).shape[0] >= 4 else None

    search = searched(tmp_path, model_of(NEG.replace("m", "9")), ShrinkSizes(), check, [{"x": numbers(16, 9)}])
    assert (4, 1) == np.asarray(search.case.samples[0]["x"]).shape
