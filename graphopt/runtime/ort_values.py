"""Values as ONNX Runtime's Python interface takes and gives them, to numpy and back.

numpy's own element types pass as they are. The narrow ones of ``ml_dtypes`` (bfloat16, float8, int4 ...) go through memory of an
``OrtValue``: same bits, packed as ONNX packs them.
"""

from __future__ import annotations

import ctypes
import math
import re
from typing import Any

import numpy as np
import onnxruntime as ort

from graphopt.errors import ExecutionError
from graphopt.ir import (
    Array,
    DType,
    MapType,
    OptionalType,
    SequenceType,
    SymbolicDim,
    TensorType,
    Type,
    pack_bytes,
    unpack_bytes,
)
from graphopt.runtime.base import Datum

__all__ = ["NARROW", "from_ort_value", "parse_type", "to_ort"]

#: Element types that numpy itself does not have.
NARROW = frozenset(dtype for dtype in DType if dtype.name.startswith(("BFLOAT", "FLOAT8", "FLOAT4", "FLOAT6"))) | {
    DType.INT4,
    DType.UINT4,
    DType.INT2,
    DType.UINT2,
}
_TYPE = re.compile(r"(tensor|seq|optional|map|sparse_tensor)\((.*)\)$")


def parse_type(text: str, shape: list[int | str | None]) -> Type | None:
    """The IR type of what ONNX Runtime spells ``tensor(float)``, ``seq(map(int64,tensor(float)))`` and so on.

    Args:
        text: the type.
        shape: sizes as ONNX Runtime gives them; they belong to a tensor, or to the tensor in an optional.
    """
    found = _TYPE.match(text.strip())
    if found is None:
        return None
    kind, inner = found.groups()
    if kind == "tensor":
        try:
            dtype = DType[inner.upper()]
        except KeyError:
            return None
        return TensorType(dtype, tuple(SymbolicDim(dim) if isinstance(dim, str) else dim for dim in shape))
    if kind == "seq":
        return SequenceType(_without_shape(parse_type(inner, [])))
    if kind == "optional":
        return OptionalType(parse_type(inner, shape))
    if kind == "map":
        key, _, value = inner.partition(",")
        return MapType(DType[key.strip().upper()], _without_shape(parse_type(value, [])))
    return None


def _without_shape(found: Type | None) -> Type | None:
    return found.with_shape(None) if isinstance(found, TensorType) else found


def to_ort(value: Datum, *, as_value: bool = False) -> Any:  # noqa: ANN401 - whatever a session takes
    """What a session takes for a value.

    Args:
        value: array, list, dict or ``None``.
        as_value: make an ``OrtValue`` of any tensor, not only of those with a narrow element type.

    Raises:
        ExecutionError: if ONNX Runtime has no such value.
    """
    if isinstance(value, list):
        return [to_ort(item) for item in value]
    if value is None or isinstance(value, dict):
        return value
    array = np.ascontiguousarray(value) if np.ndim(value) else np.asarray(value)
    dtype = DType.from_numpy(array.dtype)
    try:
        if dtype in NARROW:
            return _narrow_value(array, dtype)
        return ort.OrtValue.ortvalue_from_numpy(array) if as_value else array
    except RuntimeError as err:
        raise ExecutionError(f"ONNX Runtime takes no {dtype} from Python: {' '.join(str(err).split())}") from err


def _narrow_value(array: Array, dtype: DType) -> ort.OrtValue:
    made = ort.OrtValue.ortvalue_from_shape_and_type(list(array.shape), int(dtype))
    packed = pack_bytes(array, dtype)
    if packed:
        ctypes.memmove(made.data_ptr(), packed, len(packed))
    return made


def from_ort_value(value: ort.OrtValue) -> Datum:
    """The numbers of a tensor (a copy).

    Raises:
        ExecutionError: for a value that is no tensor beside outputs with narrow element types.
    """
    if not value.has_value():
        return None
    if not value.is_tensor():
        raise ExecutionError(
            f"an output is a {value.data_type()} beside outputs of narrow element types, which ONNX Runtime's Python "
            "interface can't give together; cast the narrow ones in the model"
        )
    dtype = DType(value.element_type())
    if dtype not in NARROW:
        found: Array = value.numpy()
        return found
    shape = tuple(value.shape())
    size = dtype.storage_bytes(math.prod(shape))
    raw = ctypes.string_at(value.data_ptr(), size) if size else b""
    return unpack_bytes(np.frombuffer(raw, np.uint8), dtype, shape)
