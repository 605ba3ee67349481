"""Types of values."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.ir import (
    DType,
    MapType,
    OpaqueType,
    OptionalType,
    SequenceType,
    SparseTensorType,
    SymbolicDim,
    TensorType,
    symbols_of,
)


@pytest.mark.parametrize("dtype", [d for d in DType if d is not DType.UNDEFINED], ids=str)
def test_numpy_type_leads_back(dtype):
    assert DType.from_numpy(dtype.numpy) is dtype


def test_numpy_type_without_element_type_is_refused():
    with pytest.raises(ValueError, match="no ONNX element type"):
        DType.from_numpy(np.dtype("datetime64[s]"))


def test_signs_and_classes_of_element_types():
    assert DType.BFLOAT16.is_float
    assert DType.UINT4.is_integer
    assert not DType.UINT4.is_signed
    assert DType.INT4.is_signed
    assert not DType.BOOL.is_integer
    assert DType.UINT2.storage_bytes(5) == 2
    assert DType.FLOAT6E2M3.storage_bytes(4) == 3


def test_tensor_types_compare_by_content():
    n = SymbolicDim("n")
    assert TensorType(DType.FLOAT, (n + 1, 3)) == TensorType(DType.FLOAT, (1 + n, 3))
    assert hash(TensorType(DType.FLOAT, (n, 3))) == hash(TensorType(DType.FLOAT, (SymbolicDim("n"), 3)))
    assert TensorType(DType.FLOAT, ()) != TensorType(DType.FLOAT, None)
    assert TensorType(DType.FLOAT, (2,)) != TensorType(DType.DOUBLE, (2,))


def test_static_shape_and_size():
    n = SymbolicDim("n")
    assert TensorType(DType.FLOAT, (2, 3)).static_shape == (2, 3)
    assert TensorType(DType.FLOAT, (2, n)).static_shape is None
    assert TensorType(DType.FLOAT, (2, n)).size == n * 2
    assert TensorType(DType.FLOAT).size is None
    assert TensorType(DType.FLOAT, (2,)).with_shape(None) == TensorType(DType.FLOAT)


def test_symbols_of_a_shape():
    n, m = SymbolicDim("n"), SymbolicDim("m")
    assert symbols_of((n * 2, (m + 1) // n, 3, None)) == {"n", "m"}
    assert symbols_of(None) == frozenset()


def test_types_read_well():
    n = SymbolicDim("n")
    tensor = TensorType(DType.FLOAT, (n, 3, None))
    assert str(tensor) == "float[n, 3, ?]"
    assert str(TensorType(DType.INT64)) == "int64[*]"
    assert str(SequenceType(OptionalType(tensor))) == "seq(optional(float[n, 3, ?]))"
    assert str(MapType(DType.STRING, tensor)) == "map(string, float[n, 3, ?])"
    assert str(SparseTensorType(tensor)) == "sparse(float[n, 3, ?])"
    assert str(OpaqueType("d", "n")) == "opaque(d::n)"
