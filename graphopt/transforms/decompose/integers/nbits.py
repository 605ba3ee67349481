"""``com.microsoft::MatMulNBits`` as a product with a stored matrix: ``MatMul(x, Transpose(DequantizeLinear(w, s, block_size)))``.

Weights of 4 bits around the middle of their range become int4 from opset 21 on; all others become the floats that they stand for. Numerics:
re-associates. Source: ONNX Runtime's docs/ContribOperators.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import ml_dtypes
import numpy as np

from graphopt.ir import Array, Constant, DType, Node, Value, constant_of
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Replacement, Rewriter
from graphopt.transforms.decompose.integers.spelled import IntegerRule

__all__ = ["SpellOutNbits"]

_OPSET_OF_BLOCKS: Final = 21


@dataclass(frozen=True)
class SpellOutNbits(IntegerRule):
    """com.microsoft::MatMulNBits(x, w, s, z, order, b) -> MatMul(x, w') + b."""

    name: ClassVar[str] = "spell-out-nbits"
    roots: ClassVar[tuple[str, ...]] = ("com.microsoft::MatMulNBits",)
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 1

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Weights, scales and zero points are constant."""
        weights, scales = (constant_of(node.input_at(place)) for place in (1, 2))
        zeros, order, bias = (node.input_at(place) for place in (3, 4, 5))
        shift = constant_of(zeros)
        x, bits, block = node.input_at(0), node.int_attr("bits", 4), node.int_attr("block_size", 0)
        rows, columns = node.int_attr("K", 0), node.int_attr("N", 0)
        if x is None or x.dtype is None or weights is None or scales is None or (shift is None and zeros is not None):
            return NoMatch("weights, scales or zero points are not constant")
        if order is not None or bits not in (4, 8) or not block:
            return NoMatch("rows are ordered, or numbers have %d bits", bits)
        stored = _unpacked(weights.numpy().reshape(columns, -1), bits)[:, :rows]
        steps = scales.numpy().reshape(columns, -1)
        symmetric = shift is None and bits == 4
        if symmetric and (rw.graph.opset() or 0) >= _OPSET_OF_BLOCKS and not rows % block:
            moved = (stored.astype(np.int16) - 8).astype(ml_dtypes.int4)
            decoded = rw.new_node(
                "DequantizeLinear",
                [rw.constant(Constant(moved)), rw.constant(steps)],
                attributes={"axis": 1, "block_size": block},
            ).output
            matrix: Value | Array = rw.new_node("Transpose", [decoded], attributes={"perm": [1, 0]}).output
        else:
            middle = _zeros(shift, columns, steps.shape[1], bits)
            whole = [np.repeat(item, block, 1)[:, :rows] for item in (middle, steps.astype(np.float32))]
            floats = (stored.astype(np.float32) - whole[0]) * whole[1]
            matrix = rw.constant(np.ascontiguousarray(floats.T).astype(x.dtype.numpy))
        product = rw.new_node("MatMul", [x, matrix]).output
        return product if bias is None else rw.new_node("Add", [product, bias]).output


def _zeros(shift: Constant | None, columns: int, blocks: int, bits: int) -> Array:
    """Zero points [columns, blocks]: those that are stated, packed or not, or the middle of the range."""
    if shift is None:
        return np.full((columns, blocks), 1 << (bits - 1), np.float32)
    if shift.dtype is DType.UINT8:
        unpacked: Array = _unpacked(shift.numpy().reshape(columns, -1), bits)[:, :blocks].astype(np.float32)
        return unpacked
    return shift.numpy().reshape(columns, blocks).astype(np.float32)


def _unpacked(packed: Any, bits: int) -> Any:  # noqa: ANN401  arrays of bytes
    """Numbers of bytes; of two in one the first has the low half."""
    if bits == 8:
        return packed
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(packed.shape[0], -1)
