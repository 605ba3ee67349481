"""Constants from and to protobufs: every element type, every field, lazily, and nothing that does not fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper, numpy_helper

from graphopt.errors import ModelError
from graphopt.ir import Constant, DType, SparseData, pack_bytes
from graphopt.serde import constant_from_proto, constant_to_proto, sparse_from_proto, sparse_to_proto

NUMERIC = [dtype for dtype in DType if dtype not in (DType.UNDEFINED, DType.STRING)]
#: onnx has no reader for these yet.
SIX_BITS = (DType.FLOAT6E2M3, DType.FLOAT6E3M2)
_NARROW = (DType.UINT4, DType.INT4, DType.FLOAT4E2M1, DType.UINT2, DType.INT2)


def sample(dtype: DType, size: int = 5) -> np.ndarray:
    """Small numbers that every element type but the unsigned ones has, among them a negative one."""
    numbers = np.array([1, 0, 1, 1, 0, 1, 1][:size])
    if dtype.numpy.kind != "u" and dtype.name[0] != "U" and dtype not in (DType.BOOL, DType.FLOAT8E8M0):
        numbers = numbers * -1
    if dtype is DType.FLOAT8E8M0:
        numbers = np.array([1, 2, 4, 1, 2, 4, 1][:size])
    return numbers.astype(dtype.numpy)


def raw_proto(dtype: DType, array: np.ndarray) -> TensorProto:
    return TensorProto(name="t", dims=array.shape, data_type=int(dtype), raw_data=pack_bytes(array, dtype))


def numbers_proto(dtype: DType, array: np.ndarray) -> TensorProto:
    """The tensor with its numbers one by one, as the comments of onnx.proto say."""
    proto = TensorProto(name="t", dims=array.shape, data_type=int(dtype))
    flat = array.reshape(-1)
    if dtype in (DType.FLOAT, DType.COMPLEX64):
        proto.float_data.extend(flat.view(np.float32).tolist())
    elif dtype in (DType.DOUBLE, DType.COMPLEX128):
        proto.double_data.extend(flat.view(np.float64).tolist())
    elif dtype is DType.INT64:
        proto.int64_data.extend(flat.tolist())
    elif dtype in (DType.UINT32, DType.UINT64):
        proto.uint64_data.extend(flat.tolist())
    elif dtype.bits < 8:
        proto.int32_data.extend(pack_bytes(array, dtype))
    elif dtype.is_float:
        proto.int32_data.extend(flat.view(np.uint8 if dtype.bits == 8 else np.uint16).tolist())
    else:
        proto.int32_data.extend(flat.astype(np.int64).tolist())
    return proto


@pytest.mark.parametrize("dtype", NUMERIC, ids=str)
@pytest.mark.parametrize("make", [raw_proto, numbers_proto])
@pytest.mark.parametrize("shape", [(5,), (), (2, 0), (1, 3)], ids=str)
def test_every_element_type_in_every_field(dtype: DType, make, shape: tuple[int, ...]):
    array = sample(dtype, int(np.prod(shape))).reshape(shape)
    proto = make(dtype, array)
    constant = constant_from_proto(proto)
    assert (constant.dtype, constant.shape) == (dtype, shape)
    np.testing.assert_array_equal(constant.numpy(), array)
    assert b"".join(constant.data.chunks()) == pack_bytes(array, dtype)
    assert constant.equals(Constant(array) if dtype not in SIX_BITS else constant)
    assert constant_to_proto(constant, "t") is proto
    if dtype not in SIX_BITS:
        np.testing.assert_array_equal(numpy_helper.to_array(proto).astype(np.complex128), array.astype(np.complex128))


@pytest.mark.parametrize("dtype", [d for d in NUMERIC if d not in SIX_BITS], ids=str)
def test_a_new_constant_is_one_that_onnx_reads(dtype: DType):
    array = sample(dtype)
    proto = constant_to_proto(Constant(array), "new")
    assert (proto.name, proto.data_type, list(proto.dims)) == ("new", int(dtype), [5])
    np.testing.assert_array_equal(numpy_helper.to_array(proto).astype(np.complex128), array.astype(np.complex128))


def test_strings_with_and_without_utf_8():
    proto = TensorProto(name="s", dims=[3], data_type=TensorProto.STRING, string_data=[b"a", "é".encode(), b"\xff"])
    constant = constant_from_proto(proto)
    assert constant.numpy().tolist() == ["a", "é", b"\xff"]
    assert list(constant_to_proto(Constant(constant.numpy()), "s").string_data) == list(proto.string_data)


def test_renaming_copies_the_message():
    proto = raw_proto(DType.FLOAT, sample(DType.FLOAT))
    proto.doc_string = "doc"
    renamed = constant_to_proto(constant_from_proto(proto), "other")
    assert (renamed.name, renamed.doc_string, renamed.raw_data) == ("other", "doc", proto.raw_data)
    assert proto.name == "t"


def test_lifting_copies_no_numbers():
    proto = raw_proto(DType.FLOAT, np.zeros(100, np.float32))
    constant = constant_from_proto(proto)
    proto.raw_data = np.ones(100, np.float32).tobytes()
    assert constant.numpy().sum() == 100


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data_type": 99}, "element type 99 is unknown"),
        ({"data_type": 0}, "has no element type"),
        ({"dims": [-1, 5]}, r"shape \[-1, 5\] is absurd"),
        ({"dims": [1 << 40, 1 << 40]}, "is absurd"),
        ({"dims": [6]}, r"has 20 bytes of data, expected 24 for float\[6\]"),
        ({"raw_data": b"123"}, "has 3 bytes of data, expected 20"),
        ({"data_type": TensorProto.STRING}, "strings are stored in raw_data"),
        ({"segment": TensorProto.Segment(begin=0, end=1)}, "is stored in segments"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, object], message: str):
    proto = raw_proto(DType.FLOAT, sample(DType.FLOAT))
    for name in change:
        proto.ClearField(name)
    proto.MergeFrom(TensorProto(**change))  # type: ignore[arg-type]  # of whatever type the field has
    with pytest.raises(ModelError, match=message):
        constant_from_proto(proto)


def test_too_few_numbers_are_refused():
    proto = numbers_proto(DType.FLOAT, sample(DType.FLOAT))
    proto.dims[0] = 6
    with pytest.raises(ModelError, match=r"tensor 't': has 5 entries of float_data, expected 6"):
        constant_from_proto(proto)


def test_no_data_at_all_is_refused():
    with pytest.raises(ModelError, match="has 0 entries of int64_data, expected 4"):
        constant_from_proto(TensorProto(name="t", dims=[2, 2], data_type=TensorProto.INT64))


def test_external_data_needs_a_folder():
    proto = TensorProto(name="t", dims=[1], data_type=1, data_location=TensorProto.EXTERNAL)
    proto.external_data.add(key="location", value="w.bin")
    with pytest.raises(ModelError, match="came without a folder; lift the path of its file"):
        constant_from_proto(proto)


@pytest.mark.parametrize("indices", [[1, 5], [[0, 1], [1, 1]]], ids=["linear", "coordinates"])
def test_sparse_tensors(indices: list[object]):
    values = numpy_helper.from_array(np.array([3.0, 4.0], np.float32), "s")
    proto = helper.make_sparse_tensor(values, numpy_helper.from_array(np.array(indices), "i"), [2, 4])
    constant = sparse_from_proto(proto)
    assert constant.is_sparse
    assert constant.shape == (2, 4)
    assert constant.numpy().reshape(-1)[[1, 5]].tolist() == [3.0, 4.0]
    assert sparse_to_proto(constant, "s") is proto
    made = sparse_to_proto(Constant(SparseData(Constant(np.ones(1, np.float32)), Constant(np.array([2])), (4,))), "n")
    assert sparse_from_proto(made).numpy().tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize(
    ("dims", "indices", "message"),
    [
        ([8], [[[1]]], "expected values"),
        ([8], [1, 2, 3], "expected values"),
        ([2, 4], [[1, 2, 3], [1, 2, 3]], "expected values"),
        ([-2], [1, 2], "is absurd"),
        ([2, 4], [1, 8], r"index 8 is outside of shape \[2, 4\]"),
        ([2, 4], [-1, 3], r"index -1 is outside of shape \[2, 4\]"),
        ([2, 4], [[0, 1], [0, 4]], r"index \[0, 4\] is outside of shape \[2, 4\]"),
        ([0, 4], [[0, 1], [0, 2]], r"index \[0, 1\] is outside of shape \[0, 4\]"),
        ([2, 4], [3, 1], "index 1 stands behind 3, expected ascending indices"),
        ([2, 4], [3, 3], "index 3 stands behind 3, expected ascending indices"),
        ([2, 4], [[1, 0], [0, 3]], r"index \[0, 3\] stands behind \[1, 0\], expected ascending indices"),
        ([2, 4], [[1, 1], [1, 1]], r"index \[1, 1\] stands behind \[1, 1\], expected ascending indices"),
        ([], [[], []], r"index \[\] stands behind \[\], expected ascending indices"),
    ],
)
def test_broken_sparse_tensors_are_refused(dims: list[int], indices: list[object], message: str):
    values = numpy_helper.from_array(np.array([3.0, 4.0], np.float32), "s")
    proto = helper.make_sparse_tensor(values, numpy_helper.from_array(np.array(indices, np.int64), "i"), dims)
    with pytest.raises(ModelError, match=message) as told:
        sparse_from_proto(proto)
    assert "\n" not in str(told.value)


@given(st.data())
def test_ascending_indices_of_any_shape_are_taken(data):
    """As many as there may be, linear and by axis, are those of the dense tensor."""
    shape = data.draw(st.lists(st.integers(1, 4), max_size=4))
    dense = data.draw(hnp.arrays(np.float32, tuple(shape), elements=st.sampled_from([0.0, 1.0, -2.5])))
    linear = np.flatnonzero(dense.reshape(-1))
    by_axis = np.argwhere(dense)
    for indices in (linear, by_axis.reshape(len(linear), len(shape))):
        values = numpy_helper.from_array(dense.reshape(-1)[linear], "s")
        proto = helper.make_sparse_tensor(values, numpy_helper.from_array(indices.astype(np.int64), "i"), shape)
        np.testing.assert_array_equal(dense, sparse_from_proto(proto).numpy())


def test_indices_of_other_types_are_refused():
    values = numpy_helper.from_array(np.array([3.0], np.float32), "s")
    proto = helper.make_sparse_tensor(values, numpy_helper.from_array(np.array([1], np.int32), "i"), [4])
    with pytest.raises(ModelError, match="indices int32"):
        sparse_from_proto(proto)
