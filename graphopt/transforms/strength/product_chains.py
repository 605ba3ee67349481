"""Makes chains of products cheaper: constant matrices are multiplied before, others in the better order.

``(x @ u + b) @ v -> x @ (u @ v) + b @ v`` for constant matrices, MatMul with Add or Gemm, where the new matrix has no more elements than
both had; ``(a @ b) @ c -> a @ (b @ c)`` and the reverse where sizes are known and the count of multiplications falls by a tenth or more.
Touches weights. Numerics: re-associates (other sums).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from graphopt.ir import DType, Node, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, Rule, any_, const, op
from graphopt.transforms.broadcasting import same_dim
from graphopt.transforms.fusion.linear import Float64, Linear, as_float64, is_dequantized, read_linear, round_to
from graphopt.transforms.movement.alignment import producer_of

__all__ = ["RULES"]

_PRODUCTS: Final = ("MatMul", "Gemm")
_FLOATS: Final = frozenset({DType.FLOAT, DType.DOUBLE})
#: Of the multiplications, what another order may need at most.
_CHEAPER: Final = 0.9
_X, _U, _V, _B = any_("x"), const("u"), const("v"), const("b")


@dataclass(frozen=True, slots=True)
class _Affine:
    """``x @ matrix + bias`` with numbers.

    Attributes:
        linear: the product.
        x: what is multiplied.
        matrix: [rows, columns].
        bias: what is added, ``None`` for nothing.
    """

    linear: Linear
    x: Value
    matrix: Float64
    bias: Float64 | None


def _read(node: Node) -> _Affine | NoMatch:
    """A product with a constant matrix."""
    linear = read_linear(node, scaled=True)
    if isinstance(linear, NoMatch):
        return linear
    x = node.inputs[0]
    if x is None or node.attr("transA", 0):
        return NoMatch("the left factor is transposed")
    matrix = as_float64(linear.weight)
    bias = None if linear.bias is None else as_float64(linear.bias)
    if node.op == "Gemm":
        matrix = (matrix.T if node.attr("transB", 0) else matrix) * node.float_attr("alpha", 1.0)
        bias = None if bias is None else bias * node.float_attr("beta", 1.0)
    return _Affine(linear, x, matrix, bias)


class MergeProducts(RewritePattern):
    """MatMul(Add(MatMul(x, u), b), v) -> Add(MatMul(x, u @ v), b @ v), and so for Gemm."""

    name: ClassVar[str] = "merge-products"
    roots: ClassVar[tuple[str, ...]] = _PRODUCTS
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 3
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.MatMul(op.MatMul(_X, _U), _V),
        op.MatMul(op.Add(op.MatMul(_X, _U), _B, commute=True), _V),
        op.Gemm(op.Gemm(_X, _U, _B), _V),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """What lies between has one reader."""
        inside = node.inputs[0]
        add = None if inside is None else producer_of(inside, ("Add",), node)
        term: Float64 | None = None
        if add is not None:
            found = _product_and_term(add)
            if found is None:
                return NoMatch("the sum is none of a product and a constant")
            inside, constant = found
            term = as_float64(constant)
        first = None if inside is None else producer_of(inside, _PRODUCTS, node)
        if first is None:
            return NoMatch("the left factor is no product")
        before, after = _read(first), _read(node)
        if isinstance(before, NoMatch):
            return before
        if isinstance(after, NoMatch):
            return after
        width = before.matrix.shape[1]
        if before.linear.dtype is not after.linear.dtype or after.matrix.shape[0] != width or inside is None:
            return NoMatch("matrices %s and %s do not fit", before.matrix.shape, after.matrix.shape)
        rows = [row for row in (before.bias, term) if row is not None]
        if any(row.size != 1 and not (row.size == width == row.shape[-1]) for row in rows):
            return NoMatch("what is added between is not one row")
        if term is not None and term.ndim > 1 and not (inside.rank is not None and term.ndim <= inside.rank):
            return NoMatch("what is added may have more axes than the product")
        if before.matrix.shape[0] * after.matrix.shape[1] > before.matrix.size + after.matrix.size:
            return NoMatch("the product has more elements than its factors")
        bias = after.bias
        for row in rows:
            more = np.broadcast_to(row.reshape(-1), (width,)) @ after.matrix
            bias = more if bias is None else bias + more
        weight = round_to(before.matrix @ after.matrix, after.linear.dtype)
        added = None if bias is None else round_to(bias, after.linear.dtype)
        if isinstance(weight, NoMatch):
            return weight
        if isinstance(added, NoMatch):
            return added
        rw.matched = [node, first, *(() if add is None else (add,))]
        matrix = rw.constant(weight, after.linear.weight.name)
        row_of_biases = None if added is None else rw.constant(added, f"{after.linear.weight.name}_bias")
        if row_of_biases is not None and "Gemm" in (first.op, node.op):
            return rw.new("Gemm", before.x, matrix, row_of_biases, name=node.name)
        product = rw.new("MatMul", before.x, matrix, name=first.name)
        return product if row_of_biases is None else rw.new("Add", product, row_of_biases)


def _product_and_term(add: Node) -> tuple[Value, Value] | None:
    a, b = add.inputs
    if a is None or b is None or a.is_constant == b.is_constant:
        return None
    return (b, a) if a.is_constant else (a, b)


class MultiplyInBetterOrder(RewritePattern):
    """MatMul(MatMul(a, b), c) -> MatMul(a, MatMul(b, c)), or the reverse, where that multiplies less."""

    name: ClassVar[str] = "multiply-in-better-order"
    roots: ClassVar[tuple[str, ...]] = ("MatMul",)
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 2

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """All factors have the same batch."""
        reason = NoMatch("no factor is a product")
        for place in (0, 1):
            value = node.inputs[place]
            inner = None if value is None else producer_of(value, ("MatMul",), node)
            if inner is None:
                continue
            factors = [*inner.inputs, node.inputs[1]] if place == 0 else [node.inputs[0], *inner.inputs]
            known = [item for item in factors if item is not None]
            sizes = _sizes(known)
            if isinstance(sizes, NoMatch):
                reason = sizes
                continue
            p, q, r, s = sizes
            left, right = p * q * r + p * r * s, q * r * s + p * q * s
            old, new = (left, right) if place == 0 else (right, left)
            if new > _CHEAPER * old:
                reason = NoMatch("the other order takes %d multiplications, this one %d", new, old)
                continue
            rw.matched = [node, inner]
            a, b, c = known
            if place == 0:
                return rw.new("MatMul", a, rw.new("MatMul", b, c, name=inner.name), name=node.name)
            return rw.new("MatMul", rw.new("MatMul", a, b, name=inner.name), c, name=node.name)
        return reason


def _sizes(factors: list[Value]) -> tuple[int, int, int, int] | NoMatch:
    """Sizes along a chain of three matrices."""
    shapes = [item.shape for item in factors]
    known = [shape for shape in shapes if shape is not None and len(shape) >= 2]
    if len(known) != 3 or any(item.dtype not in _FLOATS or is_dequantized(item) for item in factors):
        return NoMatch("factors are %s", [str(item.type) for item in factors])
    a, b, c = known
    batches = [shape[:-2] for shape in known]
    if (
        len(a) != len(b)
        or len(b) != len(c)
        or not all(map(same_dim, batches[0], batches[1]))
        or not all(map(same_dim, batches[1], batches[2]))
    ):
        return NoMatch("batches %s differ", batches)
    sizes = [size for size in (a[-2], a[-1], b[-1], c[-1]) if isinstance(size, int) and size > 0]
    if len(sizes) != 4 or b[-2] != a[-1] or c[-2] != b[-1]:
        return NoMatch("sizes are not all known")
    p, q, r, s = sizes
    return p, q, r, s


RULES: Final[tuple[Rule, ...]] = (MergeProducts(), MultiplyInBetterOrder())
