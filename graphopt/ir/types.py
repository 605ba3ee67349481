"""Types of values: element types, tensor shapes, sequences, optionals, maps.

Immutable and hashable. The numbers of :class:`DType` are those of ``TensorProto.DataType`` in the ONNX specification
(https://onnx.ai/onnx/intro/concepts.html#element-type), so that no table is needed between the two.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import cache

import ml_dtypes
import numpy as np

from graphopt.ir.dims import Dim, SymbolicDim, dim_product

__all__ = [
    "DType",
    "MapType",
    "OpaqueType",
    "OptionalType",
    "SequenceType",
    "Shape",
    "SparseTensorType",
    "TensorType",
    "Type",
]

Shape = tuple[Dim, ...]


class DType(enum.IntEnum):
    """Element type of a tensor."""

    UNDEFINED = 0
    FLOAT = 1
    UINT8 = 2
    INT8 = 3
    UINT16 = 4
    INT16 = 5
    INT32 = 6
    INT64 = 7
    STRING = 8
    BOOL = 9
    FLOAT16 = 10
    DOUBLE = 11
    UINT32 = 12
    UINT64 = 13
    COMPLEX64 = 14
    COMPLEX128 = 15
    BFLOAT16 = 16
    FLOAT8E4M3FN = 17
    FLOAT8E4M3FNUZ = 18
    FLOAT8E5M2 = 19
    FLOAT8E5M2FNUZ = 20
    UINT4 = 21
    INT4 = 22
    FLOAT4E2M1 = 23
    FLOAT8E8M0 = 24
    UINT2 = 25
    INT2 = 26
    FLOAT6E2M3 = 27
    FLOAT6E3M2 = 28

    @property
    def numpy(self) -> np.dtype[np.generic]:
        """The numpy type that holds one element; narrow types take a whole byte each in memory."""
        return _NUMPY[self]

    @property
    def bits(self) -> int:
        """Bits of one stored element, 0 for strings and undefined."""
        return _BITS[self]

    @property
    def is_float(self) -> bool:
        """Whether this is a real floating-point type of any width."""
        return self in _FLOATS

    @property
    def is_integer(self) -> bool:
        """Whether this is a signed or unsigned integer type of any width (bool excluded)."""
        return self in _INTEGERS

    @property
    def is_signed(self) -> bool:
        """Whether this type has negative numbers."""
        return self in _SIGNED or self in _FLOATS

    @classmethod
    def from_numpy(cls, dtype: np.dtype[np.generic] | type) -> DType:
        """The element type of a numpy dtype.

        Raises:
            ValueError: if ONNX has no such element type.
        """
        return _from_numpy(np.dtype(dtype))

    def storage_bytes(self, count: int) -> int:
        """Bytes that ``count`` elements take when stored, with narrow types packed."""
        return (count * _BITS[self] + 7) // 8

    def __str__(self) -> str:
        return self.name.lower()


_NUMPY: dict[DType, np.dtype[np.generic]] = {
    DType.UNDEFINED: np.dtype(object),
    DType.FLOAT: np.dtype(np.float32),
    DType.UINT8: np.dtype(np.uint8),
    DType.INT8: np.dtype(np.int8),
    DType.UINT16: np.dtype(np.uint16),
    DType.INT16: np.dtype(np.int16),
    DType.INT32: np.dtype(np.int32),
    DType.INT64: np.dtype(np.int64),
    DType.STRING: np.dtype(object),
    DType.BOOL: np.dtype(np.bool_),
    DType.FLOAT16: np.dtype(np.float16),
    DType.DOUBLE: np.dtype(np.float64),
    DType.UINT32: np.dtype(np.uint32),
    DType.UINT64: np.dtype(np.uint64),
    DType.COMPLEX64: np.dtype(np.complex64),
    DType.COMPLEX128: np.dtype(np.complex128),
    DType.BFLOAT16: np.dtype(ml_dtypes.bfloat16),
    DType.FLOAT8E4M3FN: np.dtype(ml_dtypes.float8_e4m3fn),
    DType.FLOAT8E4M3FNUZ: np.dtype(ml_dtypes.float8_e4m3fnuz),
    DType.FLOAT8E5M2: np.dtype(ml_dtypes.float8_e5m2),
    DType.FLOAT8E5M2FNUZ: np.dtype(ml_dtypes.float8_e5m2fnuz),
    DType.UINT4: np.dtype(ml_dtypes.uint4),
    DType.INT4: np.dtype(ml_dtypes.int4),
    DType.FLOAT4E2M1: np.dtype(ml_dtypes.float4_e2m1fn),
    DType.FLOAT8E8M0: np.dtype(ml_dtypes.float8_e8m0fnu),
    DType.UINT2: np.dtype(ml_dtypes.uint2),
    DType.INT2: np.dtype(ml_dtypes.int2),
    DType.FLOAT6E2M3: np.dtype(ml_dtypes.float6_e2m3fn),
    DType.FLOAT6E3M2: np.dtype(ml_dtypes.float6_e3m2fn),
}
_BITS = {dtype: dtype.numpy.itemsize * 8 for dtype in DType}
_BITS |= {
    DType.UNDEFINED: 0,
    DType.STRING: 0,
    DType.UINT4: 4,
    DType.INT4: 4,
    DType.FLOAT4E2M1: 4,
    DType.UINT2: 2,
    DType.INT2: 2,
}
_BITS |= {DType.FLOAT6E2M3: 6, DType.FLOAT6E3M2: 6}
_SIGNED = frozenset({DType.INT8, DType.INT16, DType.INT32, DType.INT64, DType.INT4, DType.INT2})
_INTEGERS = _SIGNED | {DType.UINT8, DType.UINT16, DType.UINT32, DType.UINT64, DType.UINT4, DType.UINT2}
_FLOATS = frozenset(d for d in DType if d.name.startswith(("FLOAT", "BFLOAT", "DOUBLE")))
_FROM_NUMPY = {numpy_type: dtype for dtype, numpy_type in _NUMPY.items() if dtype is not DType.UNDEFINED}


@cache
def _from_numpy(dtype: np.dtype[np.generic]) -> DType:
    found = _FROM_NUMPY.get(dtype.newbyteorder("=")) if dtype.kind not in "OUST" else DType.STRING
    if found is None:
        raise ValueError(f"numpy type {dtype} has no ONNX element type")
    return found


class TensorType:
    """A dense tensor: element type, and shape unless even the rank is unknown.

    Attributes:
        dtype: element type, ``DType.UNDEFINED`` when unknown.
        shape: one entry per axis (``int``, :class:`SymbolicDim` or ``None``), or ``None`` for unknown rank.
    """

    __slots__ = ("dtype", "shape")

    dtype: DType
    shape: Shape | None

    def __init__(self, dtype: DType, shape: Shape | None = None) -> None:
        self.dtype = dtype
        self.shape = shape

    @property
    def rank(self) -> int | None:
        """Number of axes, ``None`` when unknown."""
        return None if self.shape is None else len(self.shape)

    @property
    def static_shape(self) -> tuple[int, ...] | None:
        """The shape when each axis is a number, else ``None``."""
        shape = self.shape
        if shape is None:
            return None
        for dim in shape:
            if not isinstance(dim, int):
                return None
        return shape  # type: ignore[return-value]  # checked one by one above

    @property
    def size(self) -> Dim:
        """Number of elements: a number, an expression, or ``None``."""
        return None if self.shape is None else dim_product(self.shape)

    def with_shape(self, shape: Shape | None) -> TensorType:
        """The same element type with another shape."""
        return TensorType(self.dtype, shape)

    def __eq__(self, other: object) -> bool:
        return type(other) is TensorType and self.dtype == other.dtype and self.shape == other.shape

    def __hash__(self) -> int:
        return hash((self.dtype, self.shape))

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.dtype}[*]"
        return f"{self.dtype}[{', '.join('?' if _is_unnamed(dim) else str(dim) for dim in self.shape)}]"

    def __repr__(self) -> str:
        return f"TensorType({self})"


def _is_unnamed(dim: Dim) -> bool:
    return dim is None or (isinstance(dim, SymbolicDim) and dim.is_generated)


@dataclass(frozen=True, slots=True)
class SparseTensorType:
    """A sparse tensor with the element type and dense shape of ``tensor``."""

    tensor: TensorType

    def __str__(self) -> str:
        return f"sparse({self.tensor})"


@dataclass(frozen=True, slots=True)
class SequenceType:
    """A sequence of values of one type; ``element`` is ``None`` when it is not stated."""

    element: Type | None

    def __str__(self) -> str:
        return f"seq({self.element})"


@dataclass(frozen=True, slots=True)
class OptionalType:
    """A value of one type, or nothing; ``element`` is ``None`` when it is not stated."""

    element: Type | None

    def __str__(self) -> str:
        return f"optional({self.element})"


@dataclass(frozen=True, slots=True)
class MapType:
    """A map from ``key`` (integer or string) to values of one type."""

    key: DType
    value: Type | None

    def __str__(self) -> str:
        return f"map({self.key}, {self.value})"


@dataclass(frozen=True, slots=True)
class OpaqueType:
    """A type that only its own domain understands."""

    domain: str
    name: str

    def __str__(self) -> str:
        return f"opaque({self.domain}::{self.name})"


Type = TensorType | SparseTensorType | SequenceType | OptionalType | MapType | OpaqueType


def symbols_of(shape: Shape | None) -> frozenset[str]:
    """Names of all symbolic dimensions in a shape."""
    found: frozenset[str] = frozenset()
    for dim in shape or ():
        if isinstance(dim, SymbolicDim):
            found |= dim.symbols()
    return found
