"""Element types that models are made of: how often each is drawn, and how schemas spell it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from graphopt.ir import DType

__all__ = ["FLOATS", "INTEGERS", "WEIGHTS", "spelling", "spelt"]

#: Element types that ONNX Runtime computes with, the simplest first, with how often each is drawn.
WEIGHTS: Final[dict[DType, int]] = {
    DType.FLOAT: 14,
    DType.INT64: 4,
    DType.BOOL: 2,
    DType.FLOAT16: 3,
    DType.DOUBLE: 2,
    DType.INT32: 3,
    DType.UINT8: 2,
    DType.INT8: 2,
    DType.BFLOAT16: 1,
    DType.INT16: 1,
    DType.UINT16: 1,
    DType.UINT32: 1,
    DType.UINT64: 1,
    DType.STRING: 1,
}
FLOATS: Final = frozenset({DType.FLOAT, DType.DOUBLE, DType.FLOAT16, DType.BFLOAT16})
INTEGERS: Final = frozenset(dtype for dtype in WEIGHTS if dtype.is_integer)
_SPELLING: Final = {dtype: f"tensor({dtype.name.lower()})" for dtype in DType}
_SPELT: Final = {text: dtype for dtype, text in _SPELLING.items()}


def spelling(dtype: DType) -> str:
    """As schemas spell it: ``tensor(float)``."""
    return _SPELLING[dtype]


def spelt(types: Iterable[str]) -> frozenset[DType]:
    """Element types out of what a schema allows; sequences and other types that are no dense tensors are left out."""
    return frozenset(_SPELT[text] for text in types if text in _SPELT)
