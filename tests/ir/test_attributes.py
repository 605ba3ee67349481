"""Attributes of nodes: kinds, values, equality to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.ir import Attribute, AttributeKind, Constant, DType, Graph, TensorType, make_attribute
from tests.ir.sample_models import f32

NAN = float("nan")
ODD_NAN = float(np.uint64(0x7FF8000000000001).view(np.float64))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1, AttributeKind.INT),
        (True, AttributeKind.INT),
        (np.int64(3), AttributeKind.INT),
        (1.5, AttributeKind.FLOAT),
        ("a", AttributeKind.STRING),
        (b"a", AttributeKind.STRING),
        ([1, 2], AttributeKind.INTS),
        ((1, 2.5), AttributeKind.FLOATS),
        (["a", b"b"], AttributeKind.STRINGS),
        (np.zeros(3), AttributeKind.TENSOR),
        ([Constant(np.zeros(3))], AttributeKind.TENSORS),
        (Graph(), AttributeKind.GRAPH),
        (TensorType(DType.FLOAT), AttributeKind.TYPE_PROTO),
    ],
)
def test_kind_is_seen_from_the_value(value, kind):
    assert make_attribute(value).kind is kind


@pytest.mark.parametrize("value", [[], [1, "a"], object(), {"a": 1}])
def test_values_of_no_kind_are_refused(value):
    with pytest.raises(ValueError, match=r"kind|hold"):
        make_attribute(value)


def test_schema_kind_wins_over_the_value():
    assert make_attribute(1, AttributeKind.FLOAT).value == 1.0
    assert make_attribute([], AttributeKind.INTS).value == ()
    assert make_attribute(np.array([1, 2]), AttributeKind.INTS).value == (1, 2)
    with pytest.raises(ValueError, match="expected INT, found str"):
        make_attribute("a", AttributeKind.INT)
    with pytest.raises(ValueError, match="expected a list"):
        make_attribute(1, AttributeKind.INTS)


def test_floats_are_those_of_single_precision():
    assert make_attribute(0.1).value == float(np.float32(0.1))


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (0.0, -0.0, False),
        (NAN, NAN, True),
        (NAN, ODD_NAN, False),
        (1.5, 1.5, True),
    ],
)
def test_floats_are_equal_to_the_bit(a, b, equal):
    assert (Attribute(AttributeKind.FLOAT, a) == Attribute(AttributeKind.FLOAT, b)) is equal
    assert (Attribute(AttributeKind.FLOATS, (1.0, a)) == Attribute(AttributeKind.FLOATS, (1.0, b))) is equal


def test_constants_are_equal_by_content_in_lists_too():
    one, same, other = Constant(f32([1])), Constant(f32([1])), Constant(f32([2]))
    assert Attribute(AttributeKind.TENSOR, one) == Attribute(AttributeKind.TENSOR, same)
    assert Attribute(AttributeKind.TENSORS, (one, other)) == Attribute(AttributeKind.TENSORS, (same, other))
    assert Attribute(AttributeKind.TENSORS, (one, other)) != Attribute(AttributeKind.TENSORS, (other, one))
    assert Attribute(AttributeKind.TENSORS, (one,)) != Attribute(AttributeKind.TENSORS, (one, one))


def test_kind_and_reference_count():
    assert Attribute(AttributeKind.INT, 1) != Attribute(AttributeKind.FLOAT, 1.0)
    assert Attribute(AttributeKind.INT, None, ref="a") != Attribute(AttributeKind.INT, None, ref="b")
    assert Attribute(AttributeKind.INT, 1) != 1
