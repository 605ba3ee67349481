"""A product of stored integers that gives floats, with its bias, as the one operator that ONNX Runtime has for it.

``MatMul(Dequantize(a), Dequantize(b)) [+ c] -> com.microsoft.MatMulIntegerToFloat(a, b, ..., c)``: ONNX Runtime makes the product by
itself, but leaves the Add, which costs as much as a fifth of it. Numerics: re-associates (sums of products are exact integers; float
kernels round them). Source: ONNX Runtime's docs/ContribOperators.md, com.microsoft.MatMulIntegerToFloat.
"""

from __future__ import annotations

from typing import ClassVar, Final

from graphopt.ir import Array, DType, Node, Value, constant_of
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Replacement, RewritePattern, Rewriter
from graphopt.transforms.quantization.static.stored import Stored, scale_and_zero, stored_by

__all__ = ["UseMatmulIntegerToFloat"]

_OPERATOR: Final = "com.microsoft::MatMulIntegerToFloat"
_BYTES: Final = (DType.INT8, DType.UINT8)


class UseMatmulIntegerToFloat(RewritePattern):
    """MatMul of two DequantizeLinear, with an Add of a bias behind it or not, whose result stays floats -> MatMulIntegerToFloat."""

    name: ClassVar[str] = "use-matmul-integer-to-float"
    roots: ClassVar[tuple[str, ...]] = ("MatMul", "Add")
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 3
    makes: ClassVar[str] = _OPERATOR

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Apply at the Add where there is one, else at the MatMul."""
        product, bias = (node, None) if node.op == "MatMul" else _with_bias(node)
        if product is None:
            return NoMatch("no product of integers is added to a constant bias")
        if node.op == "MatMul" and _is_biased(node):
            return NoMatch("a bias is added to it")
        a, b = stored_by(product.input_at(0)), stored_by(product.input_at(1))
        if a is None or b is None:
            return NoMatch("a factor is not stored as integers")
        reason = _why_not(a, b, node)
        if reason is not None:
            return reason
        scales, zeros = zip(scale_and_zero(a), scale_and_zero(b), strict=True)
        return rw.new(_OPERATOR, a.integers, b.integers, *scales, *zeros, bias)


def _with_bias(node: Node) -> tuple[Node | None, Value | Array | None]:
    for position in (0, 1):
        value, other = node.inputs[position], node.inputs[1 - position]
        product = None if value is None else value.producer
        if product is None or product.op != "MatMul" or value is None or not value.has_single_use or other is None:
            continue
        if product.graph is not node.graph:
            continue
        bias: Value | Array | None = other if constant_of(other) is not None else None
        if bias is None:
            stored = stored_by(other)
            bias = None if stored is None else stored.floats()
        shape = bias.shape if bias is not None else None
        weights = product.inputs[1]
        if (
            shape is not None
            and len(shape) == 1
            and weights is not None
            and weights.shape
            and shape[0] == weights.shape[-1]
        ):
            return product, bias
    return None, None


def _is_biased(product: Node) -> bool:
    if not product.output.has_single_use:
        return False
    (user,) = product.output.users
    return user.op == "Add" and user.graph is product.graph and _with_bias(user)[0] is product


def _why_not(a: Stored, b: Stored, last: Node) -> NoMatch | None:
    if constant_of(b.integers) is None:
        return NoMatch("the weights are not constant")
    if a.how.dtype not in _BYTES or b.how.dtype not in _BYTES or not a.per_tensor:
        return NoMatch("no kernel for %s with %s", a.how.dtype, b.how.dtype)
    if a.how.scale.dtype is not DType.FLOAT or b.how.scale.dtype is not DType.FLOAT:
        return NoMatch("the scales are %s and %s", a.how.scale.dtype, b.how.scale.dtype)
    if a.how.dtype is DType.INT8 and b.how.dtype is DType.UINT8:
        return NoMatch("no kernel for signed times unsigned")
    if b.how.block or (b.how.axis is not None and (b.integers.rank != 2 or b.how.axis % 2 != 1)):
        return NoMatch("the scales of the weights are not one for each column")
    if (a.integers.rank or 0) < 2 or (b.integers.rank or 0) < 2:
        return NoMatch("a factor is a vector, or of unknown rank")
    if all(user.op_type == "QuantizeLinear" for user in last.output.users) and not last.output.is_graph_output:
        return NoMatch("the result is quantized again")
    return None
