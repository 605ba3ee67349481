"""Products of an activation and a matrix of weights, read from MatMul and Gemm alike.

``y = alpha * x @ w + beta * c`` with ``w`` of rank 2, stored as ``[K, N]`` or (Gemm with ``transB``) as ``[N, K]``.
Source: https://onnx.ai/onnx/operators/onnx__MatMul.html, onnx__Gemm.html.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from graphopt.ir import Array, Constant, Node, Quantization, Value, constant_of
from graphopt.rewriting import NoMatch, Rewriter
from graphopt.transforms.quantization.spelled_weights import read_weight

__all__ = ["Product", "add_term", "is_split_off", "is_static", "read_product"]

#: From here on the last input of Gemm broadcasts as today.
_OLDEST_GEMM: Final = 7
_FEW_COLUMNS: Final = 16


@dataclass(frozen=True, slots=True)
class Product:
    """``alpha * x @ w + beta * term``.

    Attributes:
        x: the activation, [..., K].
        weight: [K, N] or [N, K]: a constant, or integers behind DequantizeLinear or behind a cast and a factor.
        constant: its floats.
        is_transposed: whether it is stored as [N, K].
        known: parameters of the integers that it is stored as, or is to be, ``None`` where there are none.
        is_dequantized: whether DequantizeLinear gives it.
        term: what is added, ``None`` for nothing.
        alpha: factor of the product.
        beta: factor of the term.
    """

    x: Value
    weight: Value
    constant: Constant
    is_transposed: bool = False
    known: Quantization | None = None
    is_dequantized: bool = False
    term: Value | None = None
    alpha: float = 1.0
    beta: float = 1.0

    @property
    def inner(self) -> int:
        """K: how many products are added."""
        return self.constant.shape[1 if self.is_transposed else 0]

    @property
    def outer(self) -> int:
        """N: how many columns the result has."""
        return self.constant.shape[0 if self.is_transposed else 1]

    @property
    def channel_axis(self) -> int:
        """Axis of the stored weight that has one column of the result each."""
        return 0 if self.is_transposed else 1

    def matrix(self) -> Array:
        """The weight as [K, N], of its own element type."""
        array = self.constant.numpy()
        return array.T if self.is_transposed else array


def read_product(node: Node) -> Product | NoMatch:
    """How a node multiplies by a constant matrix, or why it does not."""
    if node.op not in ("MatMul", "Gemm") or len(node.inputs) < 2:
        return NoMatch("%s is no product of matrices", node.op)
    x, spelled = node.inputs[0], read_weight(node.inputs[1])
    if x is None or spelled is None:
        return NoMatch("the second factor is not constant")
    if read_weight(x) is not None:
        return NoMatch("both factors are constant")
    weight, constant = spelled.value, spelled.constant
    if constant.ndim != 2 or not constant.size:
        return NoMatch("the weight is %s, expected a matrix", constant.type)
    if node.op == "MatMul":
        return Product(x, weight, constant, known=spelled.known, is_dequantized=spelled.is_dequantized)
    if node.int_attr("transA", 0):
        return NoMatch("the activation is transposed")
    if (node.opset or 0) < _OLDEST_GEMM:
        return NoMatch("opset %s broadcasts otherwise", node.opset)
    alpha, beta = node.float_attr("alpha", 1.0), node.float_attr("beta", 1.0)
    term = node.input_at(2) if beta else None
    transposed = bool(node.int_attr("transB", 0))
    return Product(x, weight, constant, transposed, spelled.known, spelled.is_dequantized, term, alpha, beta)


def is_static(node: Node) -> bool:
    """Whether a layer's activation or result is quantized by parameters of its own already, so that runtimes compute it on integers."""
    x = node.input_at(0)
    if x is not None and x.producer is not None and x.producer.op == "DequantizeLinear":
        return True
    return any(user.op == "QuantizeLinear" for value in node.outputs for user in value.users)


def is_split_off(node: Node) -> bool:
    """Whether a layer multiplies a few columns that were split off an activation, which are worth to stay floats."""
    x = node.input_at(0)
    gather = None if x is None else x.producer
    if gather is None or gather.op != "Gather" or gather.int_attr("axis", 0) != -1:
        return False
    places = constant_of(gather.input_at(1))
    return places is not None and places.ndim == 1 and places.size <= _FEW_COLUMNS


def add_term(rw: Rewriter, total: Value, product: Product) -> Value:
    """``total + beta * term``, or the total where nothing is added."""
    term = product.term
    if term is None:
        return total
    if product.beta != 1.0:
        constant, factor = constant_of(term), np.float32(product.beta)
        if constant is not None:
            scaled = (constant.numpy().astype(np.float32) * factor).astype(constant.dtype.numpy)
            term = rw.constant(scaled, f"{term.name}_scaled")
        else:
            assert product.x.dtype is not None, (
                "rules ask for the type of the activation, which that of the term equals"
            )
            term = rw.new("Mul", term, np.array(factor, product.x.dtype.numpy))
    return rw.new("Add", total, term)
