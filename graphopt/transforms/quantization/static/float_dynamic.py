"""Operators that quantize their input as it comes, as the float operators that they stand for.

``Cast(MatMulInteger(q, w)) * (s * s_w) -> MatMul(x, w')`` with ``q, s, z = DynamicQuantizeLinear(x)``, the same for ConvInteger; ONNX
Runtime's DynamicQuantizeLSTM -> LSTM. Numerics: lossy (``x`` is not rounded any more). Source:
https://onnx.ai/onnx/operators/onnx__MatMulInteger.html, onnx__ConvInteger.html; ONNX Runtime's docs/ContribOperators.md.
"""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from graphopt.ir import Array, Node, Value, constant_of
from graphopt.numerics import Lossy, Numerics
from graphopt.rewriting import NoMatch, Replacement, RewritePattern, Rewriter

__all__ = ["SpellOutDynamicLstm", "SpellOutDynamicProduct"]

_FLOAT: Final = {"MatMulInteger": "MatMul", "ConvInteger": "Conv"}
_LSTM_INPUTS: Final = 8
_Floats = NDArray[np.float32]


class SpellOutDynamicProduct(RewritePattern):
    """Mul(Cast(MatMulInteger(DynamicQuantizeLinear(x), w)), scales) -> MatMul(x, w); ConvInteger -> Conv."""

    name: ClassVar[str] = "spell-out-dynamic-product"
    roots: ClassVar[tuple[str, ...]] = ("Mul",)
    numerics: ClassVar[Numerics] = Lossy()
    reach: ClassVar[int] = 4

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Apply at the Mul that gives the products their scale."""
        for at in (0, 1):
            product = _integer_product(node.inputs[at])
            scales = node.inputs[1 - at]
            if product is not None and scales is not None:
                return self._spelled(product, scales, node, rw)
        return NoMatch("no integer product is scaled")

    def _spelled(self, product: Node, scales: Value, node: Node, rw: Rewriter) -> Replacement:
        source = product.inputs[0].producer if product.inputs[0] is not None else None
        weights, zero = constant_of(product.input_at(1)), constant_of(product.input_at(3))
        if source is None or source.op != "DynamicQuantizeLinear" or product.inputs[0] is not source.outputs[0]:
            return NoMatch("what is multiplied is not quantized as it comes")
        if product.input_at(2) is not source.outputs[2] or product.graph is not node.graph:
            return NoMatch("the zero point is another one")
        if (
            weights is None
            or (zero is None and product.input_at(3) is not None)
            or (zero is not None and zero.size != 1)
        ):
            return NoMatch("the weights are not constant, or have several zero points")
        factor = _constant_factor(scales, source.outputs[1])
        if factor is None:
            return NoMatch("the scale is not that of the input times constants")
        shift = 0 if zero is None else int(zero.numpy().reshape(()))
        floats = _scaled(weights.numpy().astype(np.float32) - np.float32(shift), factor, product.op)
        if floats is None:
            return NoMatch("the scales are not one for each output channel")
        attributes: dict[str, object] = dict(product.attributes)
        return rw.new_node(_FLOAT[product.op], [source.inputs[0], floats], attributes=attributes).output


def _integer_product(value: Value | None) -> Node | None:
    cast = None if value is None else value.producer
    if cast is None or cast.op != "Cast" or value is None or not value.has_single_use:
        return None
    inner = cast.inputs[0]
    product = None if inner is None else inner.producer
    if product is None or product.op not in _FLOAT or inner is None or not inner.has_single_use:
        return None
    return product


def _constant_factor(value: Value, scale: Value) -> _Floats | None:
    """The product of the constants that a scale is multiplied by, ``None`` when something else is in it."""
    found: _Floats = np.ones((), np.float32)
    todo, seen = [value], 0
    while todo:
        item = todo.pop()
        constant = constant_of(item)
        if item is scale:
            seen += 1
        elif constant is not None:
            found = (found * constant.numpy().astype(np.float32)).astype(np.float32)
        elif item.producer is not None and item.producer.op == "Mul":
            todo.extend(operand for operand in item.producer.inputs if operand is not None)
        else:
            return None
    return found if seen == 1 else None


def _scaled(weights: _Floats, factor: _Floats, op: str) -> _Floats | None:
    """Weights times a factor of their output channels, which was a factor of the result."""
    if factor.size == 1:
        scaled: _Floats = (weights * factor.reshape(())).astype(np.float32)
        return scaled
    if op == "MatMulInteger":
        fits = factor.shape[-1] == factor.size == weights.shape[-1]
        return (weights * factor.reshape(-1)).astype(np.float32) if fits else None
    spatial = weights.ndim - 2
    shape = factor.shape[-(spatial + 1) :] if factor.ndim > spatial else ()
    if factor.size != weights.shape[0] or shape != (weights.shape[0], *([1] * spatial)):
        return None
    return (weights * factor.reshape(-1, *([1] * (weights.ndim - 1)))).astype(np.float32)


class SpellOutDynamicLstm(RewritePattern):
    """com.microsoft.DynamicQuantizeLSTM(x, w, r) -> LSTM(x, w, r)."""

    name: ClassVar[str] = "spell-out-dynamic-lstm"
    roots: ClassVar[tuple[str, ...]] = ("com.microsoft::DynamicQuantizeLSTM",)
    numerics: ClassVar[Numerics] = Lossy()
    reach: ClassVar[int] = 1

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Decode the weights and turn their axes."""
        decoded = [_decoded(node, at, _LSTM_INPUTS + 2 * (at - 1)) for at in (1, 2)]
        if any(item is None for item in decoded):
            return NoMatch("the weights or their scales are not constant")
        inputs = [node.input_at(at) for at in range(_LSTM_INPUTS)]
        given: list[Value | Array | None] = [inputs[0], *decoded, *inputs[3:]]
        made = rw.new_node("LSTM", given, outputs=len(node.outputs), attributes=dict(node.attributes))
        return [new if old.is_used else None for old, new in zip(node.outputs, made.outputs, strict=True)]


def _decoded(node: Node, at: int, scale_at: int) -> Array | None:
    """float32 [directions, 4 * hidden, inputs] of int8 [directions, inputs, 4 * hidden]."""
    stored, scale, zero = (constant_of(node.input_at(place)) for place in (at, scale_at, scale_at + 1))
    if stored is None or scale is None or zero is None or stored.ndim != 3:
        return None
    shape = (stored.shape[0], 1, -1)
    scales, zeros = (np.broadcast_to(item.numpy().reshape(shape), stored.shape) for item in (scale, zero))
    floats = (stored.numpy().astype(np.float32) - zeros.astype(np.float32)) * scales.astype(np.float32)
    return np.ascontiguousarray(floats.transpose(0, 2, 1))
