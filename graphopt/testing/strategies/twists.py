"""Other kinds of graphs for a rule: those that are drawn otherwise from the start, not edited afterwards."""

from __future__ import annotations

from typing import Final, Literal

from graphopt.ir import DType

__all__ = ["ODD_TYPES", "TWISTS", "Twist"]

#: Element types that the rule does not expect, ranks that it does not expect, tensors without elements, extreme numbers, opsets outside
#: of those that it states, one name of its pattern for two values.
Twist = Literal["", "dtype", "rank", "empty", "extreme", "opset", "unequal"]
TWISTS: Final[tuple[Twist, ...]] = ("dtype", "rank", "empty", "extreme", "opset", "unequal")
#: Element types that rules rarely think of.
ODD_TYPES: Final = (
    DType.INT32,
    DType.FLOAT16,
    DType.DOUBLE,
    DType.INT64,
    DType.UINT8,
    DType.BOOL,
    DType.INT8,
    DType.UINT64,
)
