"""Integers of types that TensorRT lacks: kept as int32 or int64, and cut to their bits after arithmetic, which wraps around in ONNX.

int32 and int64 wrap around at powers of two that those of narrower types divide, so the low bits are right whatever was lost above them.
uint64 is kept as the int64 of the same bits.
"""

from __future__ import annotations

from typing import Final

from graphopt.backends.tensorrt.converters.operands import dtype_of
from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.protocols import Tensor
from graphopt.ir import DType, Node

__all__ = ["BITS", "bounds_of", "cut", "cut_to_output"]

#: Bits of integers that may be kept in wider ones.
BITS: Final = {
    DType.INT2: 2,
    DType.UINT2: 2,
    DType.INT4: 4,
    DType.UINT4: 4,
    DType.INT8: 8,
    DType.UINT8: 8,
    DType.INT16: 16,
    DType.UINT16: 16,
    DType.INT32: 32,
    DType.UINT32: 32,
}


def bounds_of(dtype: DType) -> tuple[int, int]:
    """The smallest and the largest number of an integer type."""
    bits = BITS.get(dtype, 64)
    return (0, 2**bits - 1) if dtype.name.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def cut(e: Emitter, tensor: Tensor, dtype: DType | None) -> Tensor:
    """Integers without the bits that a narrower type does not have; as they are, where it has them all."""
    bits = None if dtype is None else BITS.get(dtype)
    if bits is None or dtype is None or bits >= 8 * e.api.ir_dtype(tensor.dtype).numpy.itemsize:
        return tensor
    size = e.scalar_like(2**bits, tensor)
    low = bounds_of(dtype)[0]
    shifted = e.elementwise(tensor, e.scalar_like(low, tensor), "SUB") if low else tensor
    above = e.elementwise(e.elementwise(shifted, size, "FLOOR_DIV"), size, "PROD")
    return e.elementwise(tensor, above, "SUB")


def cut_to_output(e: Emitter, node: Node, tensor: Tensor) -> Tensor:
    """The result of arithmetic, as the type of a node's output has it."""
    return cut(e, tensor, dtype_of(node.output)) if e.is_integer(tensor) else tensor
