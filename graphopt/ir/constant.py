"""Constant tensors that are read only when somebody asks for their numbers.

A :class:`Constant` has a type at once and its bytes later, from one of several storages: a numpy array, a part of a file or of bytes
(:class:`graphopt.ir.StoredData`), or whatever a frontend brings (a protobuf, say) as long as it follows :class:`TensorData`. Bytes are
little-endian and packed as the ONNX specification of ``TensorProto.raw_data`` says; equal bytes mean equal constants.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator
from typing import Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt

from graphopt.ir.types import DType, TensorType

__all__ = ["ArrayData", "Constant", "SparseData", "TensorData", "pack_bytes", "unpack_bytes"]

Array = npt.NDArray[np.generic]
_CHUNK = 1 << 20
_KEEP_BELOW = 1 << 12
_serials = itertools.count(1)


@runtime_checkable
class TensorData(Protocol):
    """Where the numbers of a constant are.

    Attributes:
        dtype: element type.
        shape: size of each axis.
    """

    @property
    def dtype(self) -> DType:
        """Element type."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each axis."""

    def numpy(self) -> Array:
        """The numbers as a read-only array of ``dtype.numpy``; a view of the storage where that is possible."""

    def chunks(self) -> Iterator[bytes | memoryview]:
        """The packed little-endian bytes, in pieces of bounded size (strings: not supported)."""


class ArrayData:
    """Numbers in a numpy array. The array is taken over: it is made read-only, not copied."""

    __slots__ = ("_array", "dtype", "shape")

    def __init__(self, array: Array | np.generic, dtype: DType | None = None) -> None:
        array = np.asarray(array)  # a scalar becomes an array without axes
        self.dtype = DType.from_numpy(array.dtype) if dtype is None else dtype
        if self.dtype is DType.STRING and array.dtype != object:
            array = array.astype(object)
        view = array.view()
        view.flags.writeable = False
        self._array: Array = view
        self.shape: tuple[int, ...] = array.shape

    def numpy(self) -> Array:
        """The array itself, read-only."""
        return self._array

    def chunks(self) -> Iterator[bytes | memoryview]:
        """Packed little-endian bytes of the array."""
        if self.dtype.bits % 8 or not self._array.flags.c_contiguous or self._array.dtype.byteorder == ">":
            yield pack_bytes(self._array, self.dtype)
            return
        flat = self._array.reshape(-1).view(np.uint8)
        for start in range(0, flat.size, _CHUNK):
            yield flat[start : start + _CHUNK].data


class SparseData:
    """A sparse tensor: ``values`` [NNZ] at ``indices`` ([NNZ] linear, or [NNZ, rank]), zero elsewhere."""

    __slots__ = ("dtype", "indices", "shape", "values")

    def __init__(self, values: Constant, indices: Constant, shape: tuple[int, ...]) -> None:
        self.values = values
        self.indices = indices
        self.shape = shape
        self.dtype = values.dtype

    def flaw(self) -> str:
        """What contradicts the format, ``""`` if nothing does; reads the indices.

        They must be inside of the shape and ascending, so that each element has one number.

        Example:
            >>> SparseData(Constant(np.ones(2)), Constant(np.array([3, 1])), (4,)).flaw()
            'index 1 stands behind 3, expected ascending indices'
        """
        count, rank = self.values.size, len(self.shape)
        stated = self.indices.shape in ((count,), (count, rank)) and self.indices.dtype is DType.INT64
        if self.values.ndim != 1 or not stated:
            return (
                f"has values {self.values.type} and indices {self.indices.type}, expected values [NNZ] and indices "
                f"int64[NNZ] or int64[NNZ, {rank}]"
            )
        indices = cast("npt.NDArray[np.int64]", self.indices.numpy())
        limits = self.shape if indices.ndim == 2 else (min(math.prod(self.shape), np.iinfo(np.int64).max),)
        rows = indices.reshape(count, len(limits))
        outside = np.flatnonzero(((rows < 0) | (rows >= np.array(limits, np.int64))).any(axis=1))
        if outside.size:
            return f"index {indices[outside[0]].tolist()} is outside of shape {list(self.shape)}"
        steps = np.diff(rows, axis=0)
        if rank == 0 and indices.ndim == 2:
            steps = np.zeros((max(0, count - 1), 1), np.int64)
        first = (steps != 0).argmax(axis=1) if steps.size else np.zeros(0, np.int64)
        back = np.flatnonzero(steps[np.arange(len(first)), first] <= 0)
        if back.size:
            before, behind = (indices[back[0] + place].tolist() for place in (0, 1))
            return f"index {behind} stands behind {before}, expected ascending indices"
        return ""

    def numpy(self) -> Array:
        """The dense array."""
        dense = np.zeros(self.shape, self.dtype.numpy)
        indices = self.indices.numpy().astype(np.int64)
        if indices.ndim == 2 and self.shape:
            dense[tuple(indices.T)] = self.values.numpy()
        else:  # the index of the only element of a scalar may have no axis
            dense.reshape(-1)[indices if indices.ndim == 1 else [0] * len(indices)] = self.values.numpy()
        return dense

    def chunks(self) -> Iterator[bytes | memoryview]:
        """Bytes of the values, then of the indices."""
        yield from self.values.data.chunks()
        yield from self.indices.data.chunks()


class Constant:
    """A constant tensor.

    Args:
        data: a numpy array (taken over, not copied) or any :class:`TensorData`.
        origin: what the frontend read this from, kept so that an unchanged constant is written as it was.

    Example:
        >>> Constant(np.zeros((2, 3), np.float32)).type
        TensorType(float[2, 3])
    """

    __slots__ = ("_array", "_digest", "_nbytes", "_serial", "data", "origin")

    def __init__(self, data: Array | np.generic | TensorData, *, origin: object = None) -> None:
        self.data: TensorData = ArrayData(data) if isinstance(data, np.ndarray | np.generic) else data
        self.origin = origin
        self._digest: bytes | None = None
        self._array: Array | None = None
        self._serial = 0
        self._nbytes = -1

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.data.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each axis."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.data.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.data.shape)

    @property
    def nbytes(self) -> int:
        """Bytes the numbers take when stored (strings: the length of their text)."""
        if self._nbytes < 0:  # asked of all constants several times a pipeline
            self._nbytes = self._count_bytes()
        return self._nbytes

    def _count_bytes(self) -> int:
        if isinstance(self.data, SparseData):
            return self.data.values.nbytes + self.data.indices.nbytes
        if self.dtype is DType.STRING:
            return sum(len(_text_bytes(item)) for item in self.numpy().reshape(-1))
        return self.dtype.storage_bytes(self.size)

    @property
    def is_sparse(self) -> bool:
        """Whether the numbers are stored as a sparse tensor."""
        return isinstance(self.data, SparseData)

    @property
    def type(self) -> TensorType:
        """Element type and shape."""
        return TensorType(self.data.dtype, self.data.shape)

    def numpy(self) -> Array:
        """The numbers, read-only. Small ones are kept, large ones stay where they are stored."""
        array = self._array
        if array is None:
            array = self.data.numpy()
            array.flags.writeable = False
            if array.nbytes <= _KEEP_BELOW:
                self._array = array
        return array

    def digest(self) -> bytes:
        """SHA-256 over element type, shape and bytes, computed once; NaN payloads and signed zeros count."""
        if self._digest is None:
            indices = f"sparse{self.data.indices.type}" if isinstance(self.data, SparseData) else ""
            state = hashlib.sha256(f"{int(self.dtype)}{self.shape}{indices}".encode())
            if self.dtype is DType.STRING:
                for item in self.numpy().reshape(-1):
                    text = _text_bytes(item)
                    state.update(b"%d:" % len(text) + text)
            else:
                for piece in self.data.chunks():
                    state.update(piece)
            self._digest = state.digest()
        return self._digest

    @property
    def serial(self) -> int:
        """A number that no other constant of this process has or will have: equal numbers mean the same object, nothing is read."""
        if not self._serial:
            self._serial = next(_serials)
        return self._serial

    def equals(self, other: Constant) -> bool:
        """Whether both hold the same type and bytes; compares sizes before it reads anything."""
        if self is other:
            return True
        if self.dtype != other.dtype or self.shape != other.shape or self.is_sparse != other.is_sparse:
            return False
        return self.digest() == other.digest()

    def __repr__(self) -> str:
        return f"Constant({self.type})"


def _text_bytes(item: object) -> bytes:
    return item if isinstance(item, bytes) else str(item).encode("utf-8", "surrogateescape")


def pack_bytes(array: Array, dtype: DType) -> bytes:
    """Little-endian packed bytes of an array, as ``TensorProto.raw_data`` has them.

    Args:
        array: any shape, elements of ``dtype.numpy``.
        dtype: element type; 2-, 4- and 6-bit types are packed, the first element in the low bits.
    """
    bits = dtype.bits
    if bits % 8 == 0:
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        return np.ascontiguousarray(little).tobytes()
    codes = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    stream = np.unpackbits(codes[:, None], axis=1, bitorder="little")[:, :bits].reshape(-1)
    return np.packbits(stream, bitorder="little").tobytes()


def unpack_bytes(raw: npt.NDArray[np.uint8], dtype: DType, shape: tuple[int, ...]) -> Array:
    """The array that packed little-endian bytes stand for; a view of ``raw`` for types of whole bytes.

    Args:
        raw: uint8 [bytes], what :func:`pack_bytes` gives.
        dtype: element type.
        shape: size of each axis.
    """
    bits = dtype.bits
    if bits % 8 == 0:
        if np.dtype(dtype.numpy).itemsize > 1 and dtype.numpy.byteorder == ">":
            return raw.view(dtype.numpy.newbyteorder("<")).astype(dtype.numpy).reshape(shape)
        return raw.view(dtype.numpy).reshape(shape)
    count = math.prod(shape)
    stream = np.unpackbits(raw, bitorder="little")[: count * bits].reshape(count, bits)
    codes = np.packbits(np.pad(stream, ((0, 0), (0, 8 - bits))), axis=1, bitorder="little").reshape(-1)
    if dtype in (DType.INT4, DType.INT2):
        sign = 1 << (bits - 1)
        return ((codes ^ sign).astype(np.int16) - sign).astype(np.int8).astype(dtype.numpy).reshape(shape)
    return codes.view(dtype.numpy).reshape(shape)
