"""Constants: ``TensorProto`` and ``SparseTensorProto`` to lazy constants and back, in every encoding that ONNX has.

Lifting checks that the data fits element type and shape, and reads no number. An unchanged constant is written exactly as it was read.

Source: comments of ``TensorProto`` in https://github.com/onnx/onnx/blob/main/onnx/onnx.proto (which field holds which element type).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from onnx import SparseTensorProto, TensorProto

from graphopt.errors import ModelError
from graphopt.ir import Array, Constant, DType, SparseData, TensorData, pack_bytes, unpack_bytes
from graphopt.ir.storage import BytesInFile, ByteSource, StoredData
from graphopt.serde.external import find_external_data
from graphopt.serde.types import MAX_ELEMENTS, dtype_from_proto

__all__ = [
    "ProtoData",
    "TensorStorage",
    "constant_from_proto",
    "constant_to_proto",
    "sparse_from_proto",
    "sparse_to_proto",
    "tensor_header",
]

_CHUNK = 1 << 20
_FIELD = dict.fromkeys(DType, "int32_data") | {
    DType.FLOAT: "float_data",
    DType.COMPLEX64: "float_data",
    DType.DOUBLE: "double_data",
    DType.COMPLEX128: "double_data",
    DType.INT64: "int64_data",
    DType.UINT32: "uint64_data",
    DType.UINT64: "uint64_data",
    DType.STRING: "string_data",
}
_EXTERNAL = TensorProto.EXTERNAL


@dataclass(slots=True)
class TensorStorage:
    """Where tensors that are not inside their message have their bytes.

    Attributes:
        folder: folder of the model file, where external data is; ``None`` when there is no file.
        source: the bytes of the model file itself.
        parts: offset and length in ``source`` of each big ``raw_data``, by the mark that stands in its place.
        files: external data files that were opened, by path.
    """

    folder: Path | None = None
    source: ByteSource | None = None
    parts: Mapping[bytes, tuple[int, int]] = field(default_factory=dict)
    files: dict[Path, BytesInFile] = field(default_factory=dict)


class ProtoData:
    """Numbers that stay in a ``TensorProto`` until they are asked for."""

    __slots__ = ("dtype", "proto", "shape")

    def __init__(self, proto: TensorProto, dtype: DType, shape: tuple[int, ...]) -> None:
        self.proto = proto
        self.dtype = dtype
        self.shape = shape

    def numpy(self) -> Array:
        """The numbers, copied out of the message."""
        proto, dtype = self.proto, self.dtype
        if proto.HasField("raw_data"):
            return unpack_bytes(np.frombuffer(proto.raw_data, np.uint8), dtype, self.shape)
        stored = getattr(proto, _FIELD[dtype])
        if dtype is DType.STRING:
            texts = np.empty(len(stored), object)
            texts[:] = [_text(item) for item in stored]
            return texts.reshape(self.shape)
        return _from_numbers(stored, dtype, self.shape)

    def chunks(self) -> Iterator[bytes | memoryview]:
        """The packed little-endian bytes in pieces of bounded size."""
        raw = self.proto.raw_data if self.proto.HasField("raw_data") else pack_bytes(self.numpy(), self.dtype)
        view = memoryview(raw)
        for start in range(0, len(view), _CHUNK):
            yield view[start : start + _CHUNK]


def _text(item: bytes) -> str | bytes:
    try:
        return item.decode()
    except UnicodeDecodeError:
        return item


def _from_numbers(stored: object, dtype: DType, shape: tuple[int, ...]) -> Array:
    name = _FIELD[dtype]
    if name == "float_data":
        return np.array(stored, np.float32).view(dtype.numpy).reshape(shape)
    if name == "double_data":
        return np.array(stored, np.float64).view(dtype.numpy).reshape(shape)
    if name == "int64_data":
        return np.array(stored, np.int64).reshape(shape)
    if name == "uint64_data":
        return np.array(stored, np.uint64).astype(dtype.numpy).reshape(shape)
    numbers = np.array(stored, np.int32)  # bit patterns; several elements in each for types of less than a byte
    if dtype.bits < 8:
        return unpack_bytes(numbers.astype(np.uint8), dtype, shape)
    if dtype.is_float:
        width = np.uint8 if dtype.bits == 8 else np.uint16
        return numbers.astype(width).view(dtype.numpy).reshape(shape)
    return numbers.astype(dtype.numpy).reshape(shape)


def _stored_count(dtype: DType, size: int) -> int:
    if dtype in (DType.COMPLEX64, DType.COMPLEX128):
        return 2 * size
    return -(-size * dtype.bits // 8) if 0 < dtype.bits < 8 else size


def constant_from_proto(proto: TensorProto, storage: TensorStorage | None = None, where: str = "") -> Constant:
    """A constant that reads its numbers from ``proto``, or from where ``proto`` says they are, when they are asked for.

    Args:
        proto: the message; it is kept as the origin and must not change any more.
        storage: where bytes outside the message are.
        where: what this tensor is, for errors.

    Raises:
        ModelError: if element type, shape and data contradict each other, or external data is not there.
        UnsafePathError: if external data is outside the folder of the model.
    """
    where = where or f"tensor {proto.name!r}"
    shape = tuple(proto.dims)
    dtype = dtype_from_proto(proto.data_type, where)
    if dtype is DType.UNDEFINED:
        raise ModelError(f"{where}: has no element type (data_type is 0); fix the model")
    return Constant(_data(proto, storage, dtype, shape, where), origin=proto)


def _data(
    proto: TensorProto, storage: TensorStorage | None, dtype: DType, shape: tuple[int, ...], where: str
) -> TensorData:
    size = math.prod(shape)
    if size > MAX_ELEMENTS or (shape and min(shape) < 0):
        raise ModelError(
            f"{where}: shape {list(shape)} is absurd, expected sizes of 0 or more and at most 2**62 elements"
        )
    if proto.HasField("segment"):
        raise ModelError(f"{where}: is stored in segments, which nothing writes; join the segments first")
    if proto.data_location == _EXTERNAL:
        source, offset, length = find_external_data(proto, storage, dtype.storage_bytes(size), dtype, where)
        return StoredData(source, offset, length, dtype, shape)
    if proto.HasField("raw_data"):
        raw = proto.raw_data
        expected = dtype.storage_bytes(size)
        if storage is not None and storage.parts and raw in storage.parts and storage.source is not None:
            offset, length = storage.parts[raw]
            if length == expected and dtype is not DType.STRING:
                return StoredData(storage.source, offset, length, dtype, shape)
            found = length
        else:
            found = len(raw)
        if dtype is DType.STRING:
            raise ModelError(f"{where}: strings are stored in raw_data, expected them in string_data; fix the model")
        if found != expected:
            raise ModelError(
                f"{where}: has {found} bytes of data, expected {expected} for {dtype}{list(shape)}; fix the model"
            )
    else:
        count, needed = len(getattr(proto, _FIELD[dtype])), _stored_count(dtype, size)
        if count != needed:
            raise ModelError(
                f"{where}: has {count} entries of {_FIELD[dtype]}, expected {needed} for {dtype}{list(shape)}; fix the model"
            )
    return ProtoData(proto, dtype, shape)


def constant_to_proto(constant: Constant, name: str, *, keep_external: bool = True) -> TensorProto:
    """The message for a constant: the very one it was read from when nothing changed (don't change it), else a new one.

    Args:
        constant: dense.
        name: name in the file, may be empty.
        keep_external: whether external data that nobody changed is referred to where it is; else its bytes are put into the message.
    """
    data, origin = constant.data, constant.origin
    if isinstance(origin, TensorProto) and origin.name == name:
        if isinstance(data, ProtoData) and data.proto is origin:
            return origin
        if keep_external and isinstance(data, StoredData) and origin.data_location == _EXTERNAL:
            return origin
    elif isinstance(origin, TensorProto) and isinstance(data, ProtoData) and data.proto is origin:
        proto = TensorProto()
        proto.CopyFrom(origin)
        proto.name = name
        return proto
    proto = tensor_header(constant, name)
    if constant.dtype is DType.STRING:
        proto.string_data.extend(
            [item if isinstance(item, bytes) else str(item).encode() for item in constant.numpy().reshape(-1)]
        )
    elif (
        keep_external
        and isinstance(data, StoredData)
        and isinstance(origin, TensorProto)
        and origin.data_location == _EXTERNAL
    ):
        proto.external_data.extend(origin.external_data)
        proto.data_location = _EXTERNAL
    else:
        proto.raw_data = b"".join(data.chunks())
    return proto


def tensor_header(constant: Constant, name: str) -> TensorProto:
    """A new message with all that is to be said about a dense constant, but no data.

    Args:
        constant: dense.
        name: name in the file, may be empty.
    """
    origin = constant.origin
    proto = TensorProto()
    proto.dims.extend(constant.shape)
    proto.data_type = int(constant.dtype)
    if isinstance(origin, TensorProto):
        if origin.HasField("doc_string"):
            proto.doc_string = origin.doc_string
        proto.metadata_props.extend(origin.metadata_props)
        if origin.HasField("data_location") and origin.data_location != _EXTERNAL:
            proto.data_location = TensorProto.DEFAULT
    if name or (isinstance(origin, TensorProto) and origin.HasField("name")):
        proto.name = name
    return proto


def sparse_from_proto(proto: SparseTensorProto, storage: TensorStorage | None = None, where: str = "") -> Constant:
    """A sparse constant; its indices are looked at.

    Args:
        proto: the message; it is kept as the origin.
        storage: where bytes outside the message are.
        where: what this tensor is, for errors.

    Raises:
        ModelError: if its parts contradict each other.
    """
    where = where or f"sparse tensor {proto.values.name!r}"
    shape = tuple(proto.dims)
    if math.prod(shape) > MAX_ELEMENTS or (shape and min(shape) < 0):
        raise ModelError(
            f"{where}: shape {list(shape)} is absurd, expected sizes of 0 or more and at most 2**62 elements"
        )
    values = constant_from_proto(proto.values, storage, where)
    indices = constant_from_proto(proto.indices, storage, f"indices of {where}")
    data = SparseData(values, indices, shape)
    flaw = data.flaw()
    if flaw:
        raise ModelError(f"{where}: {flaw}; fix the model")
    return Constant(data, origin=proto)


def sparse_to_proto(constant: Constant, name: str) -> SparseTensorProto:
    """The message for a sparse constant: the one it was read from when nothing changed, else a new one."""
    data, origin = constant.data, constant.origin
    assert isinstance(data, SparseData), "a dense constant was given"
    if isinstance(origin, SparseTensorProto) and origin.values.name == name and data.values.origin is not None:
        return origin
    proto = SparseTensorProto()
    proto.values.CopyFrom(constant_to_proto(data.values, name))
    proto.indices.CopyFrom(constant_to_proto(data.indices, ""))
    proto.dims.extend(data.shape)
    return proto
