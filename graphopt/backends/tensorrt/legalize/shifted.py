"""Numbers stored as uint8 around 128 become int8 around 0.

TensorRT's quantizing layers have no zero points. What is stored as ``x / scale + 128`` in uint8 is the same number as ``x / scale`` in
int8, rounded and saturated alike, so this is exact. Any other zero point stays: its converter computes it as arithmetic.
"""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np

from graphopt.ir import DType, Node, Value
from graphopt.rewriting import NoMatch, Replacement, RewritePattern, Rewriter

__all__ = ["ShiftPair", "ShiftWeights"]

_MIDDLE: Final = 128


def _stored_around_the_middle(node: Node) -> bool:
    zero = node.input_at(2)
    return (
        zero is not None
        and zero.is_constant
        and zero.const is not None
        and zero.const.dtype is DType.UINT8
        and bool((zero.const.numpy() == np.uint8(_MIDDLE)).all())
    )


def _zeros_like(zero: Value | None) -> np.ndarray[tuple[int, ...], np.dtype[np.int8]]:
    assert zero is not None, "seen before"
    assert zero.const is not None, "seen before"
    return np.zeros(zero.const.shape, np.int8)


class ShiftPair(RewritePattern):
    """DequantizeLinear(QuantizeLinear(x, s, 128), s, 128) of uint8 -> the same of int8 with zero points 0."""

    name: ClassVar[str] = "shift-quantized-pair"
    roots: ClassVar[tuple[str, ...]] = ("DequantizeLinear",)
    reach: ClassVar[int] = 2

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Exact: both round and saturate alike."""
        stored = node.input_at(0)
        first = None if stored is None else stored.producer
        if first is None or first.op != "QuantizeLinear":
            return NoMatch("its input is not quantized by a node")
        if not (_stored_around_the_middle(node) and _stored_around_the_middle(first)):
            return NoMatch("its zero point is not 128 of uint8")
        attributes: dict[str, object] = {
            name: item for name, item in first.attributes.items() if name != "output_dtype"
        }
        made = rw.new_node(
            "QuantizeLinear", [*first.inputs[:2], rw.constant(_zeros_like(first.input_at(2)))], attributes=attributes
        )
        again = rw.new_node(
            "DequantizeLinear",
            [made.output, node.inputs[1], rw.constant(_zeros_like(node.input_at(2)))],
            attributes=dict(node.attributes),
        )
        return again.output


class ShiftWeights(RewritePattern):
    """DequantizeLinear(w, s, 128) of constant uint8 -> DequantizeLinear(w - 128, s, 0) of int8."""

    name: ClassVar[str] = "shift-quantized-weights"
    roots: ClassVar[tuple[str, ...]] = ("DequantizeLinear",)

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Exact."""
        stored = node.input_at(0)
        if stored is None or stored.const is None or not stored.is_constant or stored.const.dtype is not DType.UINT8:
            return NoMatch("its input is not a constant of uint8")
        if not _stored_around_the_middle(node):
            return NoMatch("its zero point is not 128")
        weights = (stored.const.numpy().astype(np.int16) - _MIDDLE).astype(np.int8)
        made = rw.new_node(
            "DequantizeLinear",
            [rw.constant(weights), node.inputs[1], rw.constant(_zeros_like(node.input_at(2)))],
            attributes=dict(node.attributes),
        )
        return made.output
