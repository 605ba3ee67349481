"""Shifts and logic of bits, by arithmetic: TensorRT has no layers for them.

``a & b`` is looked up in a table, four bits of both at a time; ``a | b = a + b - (a & b)`` and ``a ^ b = a + b - 2 (a & b)`` follow, and
``~a = -1 - a``. Shifts are products with, and quotients rounded down by, powers of two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from graphopt.backends.tensorrt.converters.narrow import BITS, bounds_of, cut, cut_to_output
from graphopt.backends.tensorrt.converters.operands import dtype_of
from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.protocols import Tensor
from graphopt.backends.tensorrt.registry import lower
from graphopt.ir import DType, Node

__all__ = ["bitcast", "bitwise", "complement", "shift"]

_NIBBLE: Final = 16


@lower("BitwiseAnd", "BitwiseOr", "BitwiseXor")
def bitwise(e: Emitter, node: Node) -> Sequence[Tensor]:
    """By a table of what four bits give."""
    a, b = e.plain(e.input(node, 0)), e.plain(e.input(node, 1))
    dtype = dtype_of(node.input_at(0)) or DType.INT64
    bits = BITS.get(dtype, 64)
    numbers = np.arange(_NIBBLE)
    kept = e.api.ir_dtype(a.dtype).numpy
    table = e.constant((numbers[:, None] & numbers[None, :]).reshape(-1).astype(kept))
    both: Tensor | None = None
    for shift in range(0, max(bits, 4), 4):
        parts = [_nibble(e, item, shift) for item in (a, b)]
        place = e.elementwise(e.elementwise(parts[0], e.scalar_like(_NIBBLE, parts[0]), "PROD"), parts[1], "SUM")
        found = e.gather(table, e.cast(place, DType.INT32), 0)
        if shift:
            factor = np.array(1 << shift, np.uint64).astype(kept)  # the highest bit of int64 is its sign
            found = e.elementwise(found, e.constant(factor.reshape((1,) * e.rank(found))), "PROD")
        both = found if both is None else e.elementwise(both, found, "SUM")
    assert both is not None, "there are bits"
    if node.op_type != "BitwiseAnd":
        total = e.elementwise(a, b, "SUM")
        both = e.elementwise(total, both, "SUB") if node.op_type == "BitwiseOr" else _xor(e, total, both)
    return [cut_to_output(e, node, both)]


def _xor(e: Emitter, total: Tensor, both: Tensor) -> Tensor:
    return e.elementwise(total, e.elementwise(both, e.scalar_like(2, both), "PROD"), "SUB")


def _nibble(e: Emitter, x: Tensor, shift: int) -> Tensor:
    """Four bits, from one on, as a number of 0 to 15."""
    size = e.scalar_like(_NIBBLE, x)
    down = e.elementwise(x, e.scalar_like(1 << shift, x), "FLOOR_DIV") if shift else x
    return e.elementwise(down, e.elementwise(e.elementwise(down, size, "FLOOR_DIV"), size, "PROD"), "SUB")


@lower("BitwiseNot")
def complement(e: Emitter, node: Node) -> Sequence[Tensor]:
    """The largest number less x, which for signed ones is -1 - x."""
    x = e.plain(e.input(node, 0))
    low, high = bounds_of(dtype_of(node.input_at(0)) or DType.INT64)
    top = -1 if low or high >= 2**63 else high
    return [e.elementwise(e.scalar_like(top, x), x, "SUB")]


@lower("BitShift")
def shift(e: Emitter, node: Node) -> Sequence[Tensor]:
    """A product with a power of two, or a quotient rounded down; what goes beyond the bits is lost, all of them with a negative number."""
    dtype = dtype_of(node.input_at(0)) or DType.INT64
    x, by = e.plain(e.input(node, 0)), e.cast(e.plain(e.input(node, 1)), DType.INT32)
    bits = BITS.get(dtype, 64)
    kept = x.dtype
    wide = e.cast(x, DType.INT64)
    powers = e.constant(2 ** np.arange(63, dtype=np.int64))
    top = e.elementwise(by, e.scalar_like(62, by), "MIN")
    power = e.gather(powers, e.elementwise(top, e.scalar_like(0, by), "MAX"), 0)
    left = node.str_attr("direction") == "LEFT"
    found = e.elementwise(wide, power, "PROD" if left else "FLOOR_DIV")
    many, back = e.scalar_like(min(bits, 63) - 1, by), e.scalar_like(0, by)
    beyond = e.elementwise(e.elementwise(by, many, "GREATER"), e.elementwise(by, back, "LESS"), "OR")
    if left or dtype.name.startswith("U"):
        nothing = e.scalar_like(0, wide)
    else:
        nothing = e.elementwise(wide, e.scalar_like(2**62, wide), "FLOOR_DIV")
        nothing = e.elementwise(nothing, e.scalar_like(2, wide), "FLOOR_DIV")
    return [e.cast(cut(e, e.select(beyond, nothing, found), dtype), kept)]


def _between_integers(node: Node) -> str | None:
    start, to = dtype_of(node.input_at(0)), DType(node.int_attr("to"))
    if start is None or not (start.is_integer or start is DType.BOOL) or not to.is_integer:
        return f"the bits of {start} as {to}"
    return None


@lower("BitCast", supports=_between_integers)
def bitcast(e: Emitter, node: Node) -> Sequence[Tensor]:
    """Integers of as many bits: as they are, or less the highest bit twice."""
    to = DType(node.int_attr("to"))
    x = e.cast(e.plain(e.input(node, 0)), DType.INT64)
    return [e.cast(cut(e, x, to), e.inside(to))]
