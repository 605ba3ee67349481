"""Verdicts on models: what counts as a changed interface and as a difference of numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from benchmarks.judge import check_case, interface_change
from benchmarks.models import nest
from benchmarks.numbers import count_nodes, difference
from tests.onnx_suite import load_cases


def _model(shape: list[str | int | None], *, default: bool = False, dtype: int = TensorProto.FLOAT) -> ModelProto:
    x = helper.make_tensor_value_info("x", dtype, shape)
    w = helper.make_tensor_value_info("w", dtype, [])
    y = helper.make_tensor_value_info("y", dtype, shape)
    node = helper.make_node("Mul", ["x", "w"], ["y"])
    weight = numpy_helper.from_array(np.ones((), helper.tensor_dtype_to_np_dtype(dtype)), "w")
    return helper.make_model(helper.make_graph([node], "g", [x, w] if default else [x], [y], [weight]))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (_model(["n", 2]), _model(["n", 2]), None),
        (_model([None, 2]), _model([3, 2]), None),
        (_model(["n", 2]), _model([3, 2]), "interface"),
        (_model([2]), _model([2], dtype=TensorProto.DOUBLE), "interface"),
        (_model([2]), _model([2, 1]), "interface"),
        (_model([2], default=True), _model([2]), "default lost"),
        (_model([2]), _model([2], default=True), "interface"),
    ],
)
def test_interface_change(before: ModelProto, after: ModelProto, expected: str | None) -> None:
    """A dimension may become known where nothing was said; names, types, ranks and symbols stay."""
    changed = interface_change(before, after)
    assert (changed and changed[0]) == expected


def test_case_through_a_tool_that_changes_nothing_is_right(tmp_path: Path) -> None:
    """Shape inference keeps the numbers of a case of the suite."""
    case = next(case for case in load_cases() if case.name == "test_relu")
    assert check_case(case, "shape inference", tmp_path) == ("right", "")


@pytest.mark.parametrize(
    ("actual", "expected", "off"),
    [
        ([np.array([1, 2], np.float32)], [np.array([1, 4], np.float32)], 0.5),
        ([np.array([np.nan, 4], np.float32)], [np.array([np.nan, 4], np.float32)], 0.0),
        ([np.array([np.nan, 4], np.float32)], [np.array([1, 4], np.float32)], np.inf),
        ([np.array([np.inf], np.float32)], [np.array([-np.inf], np.float32)], np.inf),
        ([np.array([1], np.float32)], [np.array([1], np.float64)], np.inf),
        ([np.zeros((0, 2))], [np.zeros((0, 2))], 0.0),
        ([np.array(["a"])], [np.array(["b"])], np.inf),
        ([[np.array([1], np.int64)]], [[np.array([1], np.int64)]], 0.0),
        ([{"a": 1.0}], [{"b": 1.0}], np.inf),
        ([], [np.array([1], np.float32)], np.inf),
    ],
)
def test_difference_is_relative_to_the_largest_magnitude(actual: object, expected: object, off: float) -> None:
    """Shapes, types, strings and the places of NaN and infinity must agree."""
    assert isinstance(actual, list)
    assert isinstance(expected, list)
    assert difference(actual, expected) == off


def test_nodes_of_subgraphs_count(tmp_path: Path) -> None:
    """Each level of the nest has Add, If, Mul and the Neg of its other branch; the innermost one Add."""
    onnx.save(nest(4), tmp_path / "nest.onnx")
    assert count_nodes(tmp_path / "nest.onnx") == 4 * 4 + 1
