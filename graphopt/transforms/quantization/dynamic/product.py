"""A product with a constant matrix becomes an integer one whose activation is quantized on the spot.

``y = alpha * x @ w + beta * c`` becomes ``q, s, z = DynamicQuantizeLinear(x)`` and
``y = Cast(MatMulInteger(q, w8, z, z_w)) * (s * (alpha * s_w)) + beta * c``: the form of which ONNX Runtime makes DynamicQuantizeMatMul, or
MatMulIntegerToFloat where products share an activation, which is quantized once for all of them.

float32 activations of any rank, opset 11 and later. Numerics: lossy, one scale for a whole activation. Source:
https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html, onnx__MatMulInteger.html; ONNX Runtime's quantization documentation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

import numpy as np

from graphopt.ir import DType, Node, Quantization, Value
from graphopt.numerics import Lossy, Numerics
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.quantization.dynamic.form import Int8Weights
from graphopt.transforms.quantization.products import Product, add_term, is_split_off, is_static, read_product

__all__ = ["OLDEST", "QuantizeProduct", "dynamic_product", "quantized_activation"]

#: DynamicQuantizeLinear is there from this opset on.
OLDEST: Final = 11
#: As many products of 255 and -128 fit into 32 bits.
MOST_TERMS: Final = (2**31 - 1) // (255 * 128)


def dynamic_product(node: Node) -> Product | NoMatch:
    """The product that a node is, if it can become an integer one."""
    product = read_product(node)
    if isinstance(product, NoMatch):
        return product
    if product.x.dtype is not DType.FLOAT:
        return NoMatch("the activation is %s, and DynamicQuantizeLinear takes float", product.x.dtype)
    if is_static(node):
        return NoMatch("its activations are quantized already")
    if is_split_off(node):
        return NoMatch("it reads columns that were split off")
    if (node.opset or 0) < OLDEST:
        return NoMatch("opset %s has no DynamicQuantizeLinear; raise-opset makes it 11 or newer", node.opset)
    if product.inner > MOST_TERMS:
        return NoMatch("sums of %d products may overflow 32 bits", product.inner)
    return product


@dataclass(frozen=True)
class QuantizeProduct(RewritePattern):
    """MatMul(x, w) -> Mul(Cast(MatMulInteger(DynamicQuantizeLinear(x), w8)), scale), and Gemm."""

    name: ClassVar[str] = "quantize-product"
    roots: ClassVar[tuple[str, ...]] = ("MatMul", "Gemm")
    numerics: ClassVar[Numerics] = Lossy()
    reach: ClassVar[int] = 1
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.MatMul(any_("x"), const("w")),
        op.Gemm(any_("x"), const("w"), const("b", optional=True)),
    )
    form: Int8Weights = field(default_factory=Int8Weights)

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Any product of a selected layer."""
        refused = self.form.refusal(node)
        if refused is not None:
            return refused
        product = dynamic_product(node)
        if isinstance(product, NoMatch):
            return product
        stored = self._stored(product, rw)
        if isinstance(stored, NoMatch):
            return stored
        weight, how = stored
        number, scale, zero = quantized_activation(product.x, rw)
        total = rw.new("MatMulInteger", number, weight, zero, _zero_point(how))
        step = rw.new("Mul", scale, how.scale.numpy().astype(np.float32) * np.float32(product.alpha))
        return add_term(rw, rw.new("Mul", rw.new("Cast", total, to=int(DType.FLOAT)), step), product)

    def _stored(self, product: Product, rw: Rewriter) -> tuple[Value, Quantization] | NoMatch:
        """The weight as integers [K, N], once for all layers that share it."""
        key = (QuantizeProduct, rw.graph, product.weight, product.is_transposed)
        known = rw.memo.get(key)
        if isinstance(known, tuple) and rw.graph.has_initializer(known[0]):
            return known
        made = self.form.stored(product.constant.numpy(), product.channel_axis, known=product.known)
        if isinstance(made, NoMatch):
            return made
        array, how = made
        matrix = np.ascontiguousarray(array.T) if product.is_transposed else array
        rw.memo[key] = found = (rw.constant(matrix, f"{product.weight.name}_int8"), how)
        return found


def quantized_activation(x: Value, rw: Rewriter) -> tuple[Value, Value, Value]:
    """What an activation is quantized to: numbers, scale and zero point; once for all that read it in this graph."""
    key = (quantized_activation, rw.graph, x)
    known = rw.memo.get(key)
    if isinstance(known, Node) and known.graph is rw.graph:
        made = known
    else:
        made = rw.new_node("DynamicQuantizeLinear", [x], outputs=3, name=rw.graph.fresh_name(f"{x.name}_quantize"))
        rw.put_behind(x, made)
        rw.memo[key] = made
    number, scale, zero = made.outputs
    return number, scale, zero


def _zero_point(how: Quantization) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None:
    """The zero point of a weight, ``None`` for the default, 0: integer kernels then leave out a correction."""
    zero = how.zero_point.numpy()
    return zero if zero.any() else None
