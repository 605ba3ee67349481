"""Arrays to OpenVINO's tensors and back, bit for bit.

Element types that numpy lacks (bfloat16, int4) are handed over as ONNX stores them, two small ones to a byte, which is also how
OpenVINO stores them.
"""

from __future__ import annotations

import math

import numpy as np

from graphopt.errors import ExecutionError
from graphopt.ir import DType, pack_bytes, unpack_bytes
from graphopt_openvino.silent import import_openvino

__all__ = ["ELEMENTS", "array_from", "refuse_large", "tensor_from"]

#: Name of OpenVINO's element type, by ours. What is not here has none that computes what ONNX says: OpenVINO has types of float8 and
#: float4 too, and rounds to them otherwise.
ELEMENTS = {
    DType.FLOAT: "f32",
    DType.FLOAT16: "f16",
    DType.BFLOAT16: "bf16",
    DType.INT4: "i4",
    DType.UINT4: "u4",
    DType.INT8: "i8",
    DType.UINT8: "u8",
    DType.INT16: "i16",
    DType.UINT16: "u16",
    DType.INT32: "i32",
    DType.UINT32: "u32",
    DType.INT64: "i64",
    DType.UINT64: "u64",
    DType.BOOL: "boolean",
}
#: Types that the processor's plugin computes in int32.
_WIDE = frozenset({DType.INT64, DType.UINT32, DType.UINT64})
_LIMITS = np.iinfo(np.int32)


def tensor_from(name: str, value: object, dtype: DType):
    """OpenVINO's tensor for an input.

    Args:
        name: of the input, for errors.
        value: an array.
        dtype: what the model declares.

    Raises:
        ExecutionError: if the value is no array of that type, or has numbers that OpenVINO would cut off.
    """
    if not isinstance(value, np.ndarray | np.generic):
        raise ExecutionError(f"input {name!r} is a {type(value).__name__}, expected an array of {dtype}")
    found = DType.from_numpy(value.dtype)
    if found is not dtype:
        raise ExecutionError(f"input {name!r} is an array of {found}, expected {dtype}")
    array = np.asarray(value)
    refuse_large(f"input {name!r}", array, dtype)
    ov = import_openvino()
    if dtype.numpy.isbuiltin == 1:  # numpy's own: OpenVINO reads the array where it is
        return ov.Tensor(
            array if array.flags.c_contiguous and array.flags.writeable else array.copy(), shared_memory=True
        )
    tensor = ov.Tensor(getattr(ov.Type, ELEMENTS[dtype]), ov.Shape(list(array.shape)))
    if array.size:
        bytes_of(tensor)[:] = np.frombuffer(pack_bytes(np.ascontiguousarray(array), dtype), np.uint8)
    return tensor


def array_from(tensor, dtype: DType):
    """A copy of an output."""
    shape = tuple(tensor.shape)
    if dtype.numpy.isbuiltin == 1:
        return np.array(tensor.data)
    raw = bytes_of(tensor) if math.prod(shape) else np.empty(0, np.uint8)
    return unpack_bytes(np.array(raw), dtype, shape)


def bytes_of(tensor):
    """The memory of a tensor."""
    return tensor.data.reshape(-1).view(np.uint8)[: tensor.byte_size]


def refuse_large(what: str, array, dtype: DType) -> None:
    """See that whole numbers are those that OpenVINO computes with: on the processor it cuts 64 bits to 32.

    Raises:
        ExecutionError: if one is beyond.
    """
    if dtype not in _WIDE or not array.size:
        return
    low, high = int(array.min()), int(array.max())
    if low < _LIMITS.min or high > _LIMITS.max:
        number = high if high > _LIMITS.max else low
        raise ExecutionError(f"{what} has the number {number}, and OpenVINO computes with 32 bits on the processor")
