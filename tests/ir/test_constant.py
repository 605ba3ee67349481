"""Constants: bytes of every element type, storages, digests."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.ir import (
    ArrayData,
    BytesInFile,
    Constant,
    DType,
    SparseData,
    StoredData,
    TensorData,
    TensorType,
    pack_bytes,
    unpack_bytes,
)
from tests.ir.sample_models import f32, i64

NUMERIC = [dtype for dtype in DType if dtype not in (DType.UNDEFINED, DType.STRING)]


def codes(dtype: DType, count: int, seed: int = 0) -> np.ndarray:
    """Elements with all their bits drawn at random, NaN and infinities among them."""
    random = np.random.default_rng(seed)
    top = 2 if dtype is DType.BOOL else 1 << min(dtype.bits, 8)
    return random.integers(0, top, (count, dtype.numpy.itemsize)).astype(np.uint8).view(dtype.numpy).reshape(count)


@pytest.mark.parametrize("dtype", NUMERIC, ids=str)
@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 64])
def test_bytes_of_every_type_round_trip(dtype, count):
    array = codes(dtype, count)
    raw = pack_bytes(array, dtype)
    assert len(raw) == dtype.storage_bytes(count)
    again = unpack_bytes(np.frombuffer(raw, np.uint8), dtype, (count,))
    assert again.dtype == dtype.numpy
    assert pack_bytes(again, dtype) == raw


@pytest.mark.parametrize("dtype", NUMERIC, ids=str)
def test_storages_with_equal_numbers_are_equal(dtype, tmp_path):
    array = codes(dtype, 21).reshape(3, 7)
    raw = pack_bytes(array, dtype)
    (tmp_path / "weights").write_bytes(b"xyz" + raw + b"tail")
    in_memory = Constant(array.copy())
    on_disk = Constant(StoredData(BytesInFile(tmp_path / "weights"), 3, len(raw), dtype, (3, 7)))
    transposed = Constant(np.asfortranarray(array))
    assert isinstance(on_disk.data, TensorData)
    assert in_memory.type == on_disk.type == TensorType(dtype, (3, 7))
    assert b"".join(on_disk.data.chunks()) == b"".join(in_memory.data.chunks()) == b"".join(transposed.data.chunks())
    assert in_memory.digest() == on_disk.digest() == transposed.digest()
    assert in_memory.nbytes == on_disk.nbytes == len(raw)
    assert pack_bytes(on_disk.numpy(), dtype) == raw


@pytest.mark.parametrize(
    ("number", "packed"),
    [
        (DType.UINT4, b"\x21\x03"),
        (DType.INT4, b"\x21\x03"),
        (DType.UINT2, b"\x39"),
        (DType.INT8, b"\x01\x02\x03"),
    ],
)
def test_narrow_types_are_packed_from_the_low_bits(number, packed):
    array = np.array([1, 2, 3]).astype(number.numpy)
    assert pack_bytes(array, number) == packed


def test_negative_narrow_integers_come_back():
    array = np.array([-8, 7, -1]).astype(DType.INT4.numpy)
    assert unpack_bytes(np.frombuffer(pack_bytes(array, DType.INT4), np.uint8), DType.INT4, (3,)).astype(
        int
    ).tolist() == [-8, 7, -1]


def test_numpy_scalar_is_a_constant_without_axes():
    constant = Constant(np.float32(2.5))
    assert constant.shape == ()
    assert constant.numpy() == 2.5


def test_digest_tells_type_shape_and_bits():
    different = [
        np.zeros(4, np.float32),
        np.zeros(4, np.int32),
        np.zeros((2, 2), np.float32),
        f32([0, 0, 0, -0.0]),
        f32([0, 0, 0, np.nan]),
    ]
    digests = {Constant(array).digest() for array in different}
    assert len(digests) == len(different)
    assert Constant(f32([np.nan])).equals(Constant(f32([np.nan])))
    assert not Constant(f32([0.0])).equals(Constant(f32([-0.0])))


def test_strings_compare_by_text_and_length():
    assert Constant(np.array(["ab", "c"], object)).equals(Constant(np.array([b"ab", b"c"], object)))
    assert not Constant(np.array(["ab", "c"], object)).equals(Constant(np.array(["a", "bc"], object)))
    assert Constant(np.array(["x", "yy"])).dtype is DType.STRING
    assert Constant(np.array(["é", "yy"], object)).nbytes == 4


def test_sparse_constant_is_dense_when_read():
    linear = Constant(SparseData(Constant(f32([1, 2])), Constant(i64([1, 5])), (2, 3)))
    pairs = Constant(SparseData(Constant(f32([1, 2])), Constant(i64([[0, 1], [1, 2]])), (2, 3)))
    expected = [[0, 1, 0], [0, 0, 2]]
    assert linear.numpy().tolist() == pairs.numpy().tolist() == expected
    assert linear.is_sparse
    assert not linear.equals(Constant(f32(expected)))


def test_digest_of_sparse_tells_linear_from_coordinate_indices():
    values = np.arange(6)
    linear = Constant(SparseData(Constant(values[:3]), Constant(values[3:]), (9, 9)))
    pairs = Constant(SparseData(Constant(values[:2]), Constant(values[2:].reshape(2, 2)), (9, 9)))
    assert linear.digest() != pairs.digest()


def test_numbers_cannot_be_written_to():
    constant = Constant(np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="read-only"):
        constant.numpy()[0] = 1


def test_serial_is_of_the_object():
    a, b = Constant(np.zeros(1)), Constant(np.zeros(1))
    assert a.serial == a.serial
    assert a.serial != b.serial


def test_file_view_does_not_copy(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(np.arange(8, dtype=np.float32).tobytes())
    view = StoredData(BytesInFile(path), 8, 16, DType.FLOAT, (2, 2)).numpy()
    assert view.tolist() == [[2, 3], [4, 5]]
    assert not view.flags.owndata
    assert not view.flags.writeable


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 40), st.integers(0, 2**32 - 1), st.sampled_from(NUMERIC))
def test_chunks_are_the_packed_bytes(count, seed, dtype):
    array = codes(dtype, count, seed)
    assert b"".join(ArrayData(array).chunks()) == pack_bytes(array, dtype)
