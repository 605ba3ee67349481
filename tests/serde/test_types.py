"""Types from and to protobufs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, TypeProto

from graphopt.errors import ModelError
from graphopt.ir import (
    DType,
    MapType,
    OpaqueType,
    OptionalType,
    SequenceType,
    SparseTensorType,
    SymbolicDim,
    TensorType,
)
from graphopt.serde import type_from_proto, type_to_proto

_DTYPES = st.sampled_from(list(DType))
_DIMS = st.one_of(st.integers(0, 64), st.none(), st.builds(SymbolicDim, st.sampled_from(["n", "batch", "h*2", "é"])))
_TENSORS = st.builds(TensorType, _DTYPES, st.none() | st.lists(_DIMS, max_size=4).map(tuple))
_TYPES = st.recursive(
    _TENSORS | st.builds(SparseTensorType, _TENSORS) | st.builds(OpaqueType, st.just("d"), st.text("ab")),
    lambda inner: st.one_of(
        st.builds(SequenceType, inner),
        st.builds(OptionalType, inner),
        st.builds(MapType, st.sampled_from([DType.INT64, DType.STRING]), inner),
    ),
    max_leaves=3,
)


@given(_TYPES)
def test_round_trip(value_type):
    assert type_from_proto(type_to_proto(value_type)) == value_type


def test_no_type():
    assert type_from_proto(TypeProto()) is None
    assert type_to_proto(None) == TypeProto()


def test_names_of_dimensions_are_kept_whatever_they_are():
    proto = TypeProto()
    proto.tensor_type.elem_type = TensorProto.FLOAT
    for name in ("batch size", "2*n", ""):
        proto.tensor_type.shape.dim.add(dim_param=name)
    found = type_from_proto(proto)
    assert str(found) == "float[batch size, 2*n, ?]"


def test_minus_one_means_unknown():
    proto = TypeProto()
    proto.tensor_type.elem_type = TensorProto.FLOAT
    proto.tensor_type.shape.dim.add(dim_value=-1)
    assert type_from_proto(proto) == TensorType(DType.FLOAT, (None,))


@pytest.mark.parametrize(
    ("elem_type", "dims", "message"),
    [
        (77, [1], "value 'v': element type 77 is unknown, expected 0 to 28"),
        (1, [4, -2], "value 'v': dimension 1 is -2, expected 0 or more"),
        (1, [1 << 32, 1 << 32], "value 'v': shape .* has more than 2\\*\\*62 elements"),
    ],
)
def test_absurd_types_are_refused(elem_type: int, dims: list[int], message: str):
    proto = TypeProto()
    proto.tensor_type.elem_type = elem_type
    for dim in dims:
        proto.tensor_type.shape.dim.add(dim_value=dim)
    with pytest.raises(ModelError, match=message):
        type_from_proto(proto, "value 'v'")


def test_denotations_stay_where_they_fit():
    like = type_to_proto(TensorType(DType.FLOAT, (1, 2)))
    like.denotation = "IMAGE"
    like.tensor_type.shape.dim[1].denotation = "DATA_CHANNEL"
    made = type_to_proto(TensorType(DType.FLOAT, (1, 3)), like)
    assert made.denotation == "IMAGE"
    assert made.tensor_type.shape.dim[1].denotation == "DATA_CHANNEL"
    assert type_to_proto(TensorType(DType.FLOAT, (1,)), like).tensor_type.shape.dim[0].denotation == ""


@pytest.mark.parametrize("name", ["?", "None", "-1", "unknown"])
def test_what_stands_for_no_name_makes_no_sizes_equal(name: str):
    """Exporters write it for each size that they don't know: two of them say nothing of each other."""
    proto = type_to_proto(TensorType(DType.FLOAT, (SymbolicDim(name), SymbolicDim(name))))
    assert type_from_proto(proto) == TensorType(DType.FLOAT, (None, None))
