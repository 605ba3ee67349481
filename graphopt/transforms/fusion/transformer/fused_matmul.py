"""Transpositions of matrices and factors of one number move into ``com.microsoft::FusedMatMul``.

``MatMul(Transpose(a), b) -> FusedMatMul[transA](a, b)`` where Transpose swaps the last two axes, and so for ``b``;
``c * MatMul(a, b)``, ``MatMul(a, b) / c`` and ``MatMul(c * a, b) -> FusedMatMul[alpha](a, b)`` if neither factor is constant (the number
goes into a constant one elsewhere). float32 and float64 only, the types of its kernel.
Numerics: re-associates. Source: ONNX Runtime's docs/ContribOperators.md.
"""

from __future__ import annotations

import math
from typing import ClassVar, Final

import numpy as np

from graphopt.ir import DType, Node, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.fusion.attention.layouts import scaled
from graphopt.transforms.fusion.linear import is_dequantized

__all__ = ["FoldScaleOfProduct", "FuseOperandsOfProduct"]

_OP: Final = "com.microsoft::FusedMatMul"
_PRODUCTS: Final = ("MatMul", _OP)
#: From here on operands broadcast as today.
_MIN_OPSET: Final = 7
_DTYPES: Final = frozenset({DType.FLOAT, DType.DOUBLE})
_A, _B, _C = any_("a"), any_("b"), const("c", scalar=True)


def _attributes(node: Node, **changed: object) -> dict[str, object]:
    """Attributes of the product, as FusedMatMul has them."""
    stated: dict[str, object] = {} if node.op == "MatMul" else dict(node.attributes)
    return {**stated, **changed}


def _alpha(node: Node, factor: float) -> float | NoMatch:
    """The factor of a product times another one."""
    whole = (node.float_attr("alpha", 1.0) if node.op == _OP else 1.0) * factor
    alpha = float(np.float32(whole))
    if node.output.dtype is not DType.FLOAT and alpha != whole:
        return NoMatch("the attribute, float32, does not hold %s", whole)
    return alpha if math.isfinite(alpha) and alpha else NoMatch("the factor is %s", alpha)


def _is_plain(node: Node, opset: int | None) -> NoMatch | None:
    """Why a product is none that FusedMatMul computes."""
    if opset is None or opset < _MIN_OPSET:
        return NoMatch("opset %s broadcasts otherwise", opset)
    if any(value is None or value.dtype not in _DTYPES or (value.rank or 0) < 1 for value in node.inputs):
        return NoMatch("factors have types that FusedMatMul does not take")
    if any(is_dequantized(value) for value in node.inputs if value is not None):
        return NoMatch("runtimes make one integer operator of DequantizeLinear and MatMul")
    if node.op == _OP and (node.int_attr("transBatchA", 0) or node.int_attr("transBatchB", 0)):
        return NoMatch("batches are transposed")
    return None


class FuseOperandsOfProduct(RewritePattern):
    """MatMul(Transpose(a), c * b) -> com.microsoft::FusedMatMul[transA, alpha=c](a, b)."""

    name: ClassVar[str] = "fuse-operands-of-product"
    roots: ClassVar[tuple[str, ...]] = _PRODUCTS
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 2
    makes: ClassVar[str] = _OP
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.MatMul(op.Transpose(_A), _B),
        op.MatMul(_A, op.Transpose(_B)),
        op.MatMul(op.Mul(_A, _C, commute=True), _B),
        op.MatMul(_A, op.Div(_B, _C)),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Either factor, or both."""
        reason = _is_plain(node, rw.graph.opset())
        if reason is not None:
            return reason
        inputs = list(node.inputs)
        changed: dict[str, object] = {}
        scale, passed = 1.0, [node]
        for place, attribute in enumerate(("transA", "transB")):
            value = inputs[place]
            assert value is not None, "that was asked"
            producer = value.producer
            if producer is None or producer.graph is not node.graph or not value.has_single_use:
                continue
            multiple = scaled(value)
            if multiple is not None and not any(item is not None and item.is_constant for item in node.inputs):
                inputs[place], scale = multiple[0], scale * multiple[1]
            elif _swaps_last_two(producer, value):
                inputs[place] = producer.inputs[0]
                stated = node.int_attr(attribute, 0) if node.op == _OP else 0
                changed[attribute] = 1 - stated
            else:
                continue
            passed.append(producer)
        if len(passed) == 1:
            return NoMatch("no factor is transposed or scaled")
        if scale != 1.0:
            alpha = _alpha(node, scale)
            if isinstance(alpha, NoMatch):
                return alpha
            changed["alpha"] = alpha
        rw.matched = passed
        made = rw.new_node(_OP, inputs, attributes=_attributes(node, **changed), name=node.name)
        made.output.type = node.output.type
        return made.output


class FoldScaleOfProduct(RewritePattern):
    """Mul(MatMul(a, b), c) -> com.microsoft::FusedMatMul[alpha=c](a, b), and Div."""

    name: ClassVar[str] = "fold-scale-of-product"
    roots: ClassVar[tuple[str, ...]] = ("Mul", "Div")
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 2
    makes: ClassVar[str] = _OP
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Mul(op.MatMul(_A, _B), _C, commute=True),
        op.Div(op.MatMul(_A, _B), _C),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """The product must have no other reader."""
        multiple = scaled(node.output)
        product = None if multiple is None else multiple[0].producer
        if multiple is None or product is None or product.op not in _PRODUCTS or product.graph is not node.graph:
            return NoMatch("multiplies no product by a number")
        if not multiple[0].has_single_use or product.has_references:
            return NoMatch("the product has other readers")
        if any(value is not None and value.is_constant for value in product.inputs):
            return NoMatch("a factor is constant: the number belongs into it")
        reason = _is_plain(product, rw.graph.opset())
        if reason is not None:
            return reason
        alpha = _alpha(product, multiple[1])
        if isinstance(alpha, NoMatch):
            return alpha
        rw.matched = [node, product]
        made = rw.new_node(_OP, product.inputs, attributes=_attributes(product, alpha=alpha), name=product.name)
        made.output.type = node.output.type
        return made.output


def _swaps_last_two(node: Node, value: Value) -> bool:
    """Whether a Transpose swaps the last two axes and moves no other."""
    rank = value.rank
    if node.op != "Transpose" or rank is None or rank < 2 or node.has_references:
        return False
    perm = node.ints_attr("perm") or tuple(reversed(range(rank)))
    return perm == (*range(rank - 2), rank - 1, rank - 2)
