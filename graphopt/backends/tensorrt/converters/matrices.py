"""Products of matrices."""

from __future__ import annotations

import string
from collections.abc import Sequence

from graphopt.backends.tensorrt.converters.operands import floats_only, rank_of
from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.protocols import Tensor
from graphopt.backends.tensorrt.registry import lower
from graphopt.ir import Node

__all__ = ["einsum", "gemm", "matmul", "product"]


@lower("MatMul", supports=floats_only)
def matmul(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One layer; an operand of one axis is a vector, the other one gets the axes that it lacks."""
    return [product(e, e.input(node, 0), e.input(node, 1))]


def product(e: Emitter, a: Tensor, b: Tensor) -> Tensor:
    """Numpy's ``a @ b``."""
    vector, plain = (e.api.enum("MatrixOperation", name) for name in ("VECTOR", "NONE"))
    op_a, op_b = (vector if e.rank(item) == 1 else plain for item in (a, b))
    batch = max(e.rank(a) - (op_a == plain), e.rank(b) - (op_b == plain)) - 1
    a = e.with_rank(a, batch + (2 if op_a == plain else 1))
    b = e.with_rank(b, batch + (2 if op_b == plain else 1))
    return e.out(e.network.add_matrix_multiply(a, op_a, b, op_b))


@lower("Gemm", supports=floats_only)
def gemm(e: Emitter, node: Node) -> Sequence[Tensor]:
    """Alpha * A' * B' + beta * C."""
    transpose, plain = (e.api.enum("MatrixOperation", name) for name in ("TRANSPOSE", "NONE"))
    ops = [transpose if node.int_attr(name, 0) else plain for name in ("transA", "transB")]
    found = e.out(e.network.add_matrix_multiply(e.input(node, 0), ops[0], e.input(node, 1), ops[1]))
    alpha, beta = node.float_attr("alpha", 1.0), node.float_attr("beta", 1.0)
    if alpha != 1:
        found = e.elementwise(found, e.scalar_like(alpha, found), "PROD")
    added = e.optional(node, 2)
    if added is not None and beta:
        if beta != 1:
            added = e.elementwise(added, e.scalar_like(beta, added), "PROD")
        found = e.elementwise(found, added, "SUM")
    return [found]


def _known_rank(node: Node) -> str | None:
    if "..." in node.str_attr("equation") and any(rank_of(value) is None for value in node.inputs):
        return "an ellipsis in an Einsum of an unknown number of axes"
    return floats_only(node)


@lower("Einsum", supports=_known_rank)
def einsum(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One layer; what the result has is stated, axes behind an ellipsis get letters."""
    given = [e.input(node, place) for place in range(len(node.inputs))]
    equation = _with_letters(node.str_attr("equation").replace(" ", ""), [e.rank(item) for item in given])
    return [e.out(e.network.add_einsum(given, equation))]


def _with_letters(equation: str, ranks: Sequence[int]) -> str:
    """An equation with a result and without an ellipsis."""
    terms, arrow, result = equation.partition("->")
    factors = terms.split(",")
    free = [letter for letter in string.ascii_letters if letter not in equation]
    hidden = [
        rank - len(term.replace("...", "")) if "..." in term else 0 for term, rank in zip(factors, ranks, strict=True)
    ]
    most = max(hidden)
    spread = [
        term.replace("...", "".join(free[most - count : most])) for term, count in zip(factors, hidden, strict=True)
    ]
    if not arrow:
        letters = "".join(factors).replace(".", "")
        result = "..." + "".join(sorted(letter for letter in set(letters) if letters.count(letter) == 1))
    return ",".join(spread) + "->" + result.replace("...", "".join(free[:most]))
