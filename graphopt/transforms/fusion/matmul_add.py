"""Makes one Gemm of MatMul and Add on matrices, and moves transpositions and additions into Gemm.

``Add(MatMul(a, b), c) -> Gemm(a, b, c)`` where ``a`` and ``b`` have rank 2 and ``c`` broadcasts to the result; ``Add(Gemm(a, b), c) ->
Gemm(a, b, c)``; ``Gemm(Transpose(a), b) -> Gemm[transA](a, b)``, and so for ``b``. Only for the element types that runtimes have a Gemm
for. Numerics: re-associates (the addend may enter the sum first). Source: https://onnx.ai/onnx/operators/onnx__Gemm.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.ir import Dim, DType, Node, Shape, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.passes import RewritePass
from graphopt.rewriting import (
    Match,
    NoMatch,
    Pattern,
    Replacement,
    RewritePattern,
    Rewriter,
    Rule,
    any_,
    op,
    rest,
    rewrite,
)
from graphopt.transforms.broadcasting import keeps_shape
from graphopt.transforms.fusion.linear import is_dequantized

__all__ = ["FuseMatmulAdd"]

_DTYPES = frozenset({DType.FLOAT, DType.DOUBLE, DType.FLOAT16})


def _matrix(value: Value) -> tuple[Dim, Dim] | None:
    shape = value.shape
    return (shape[0], shape[1]) if shape is not None and len(shape) == 2 else None


@rewrite(op.Add(op.MatMul(any_("a"), any_("b")), any_("c"), commute=True), numerics=Reassociates(), min_opset=7)
def fuse_matmul_add(m: Match, rw: Rewriter) -> Replacement:
    """Add(MatMul(a, b), c) -> Gemm(a, b, c)."""
    a, b, c = m["a"], m["b"], m["c"]
    left, right = _matrix(a), _matrix(b)
    if left is None or right is None:
        return NoMatch("factors are %s and %s, expected matrices", a.type, b.type)
    if not {a.dtype, b.dtype, c.dtype} <= _DTYPES or c.dtype != a.dtype:
        return NoMatch("no Gemm for %s", a.dtype)
    if is_dequantized(a) or is_dequantized(b):
        return NoMatch("runtimes make one integer operator of DequantizeLinear and MatMul")
    return _with_addend(a, b, c, (left[0], right[1]), {}, m, rw)


@rewrite(
    op.Add(op.Gemm(any_("a"), any_("b"), name="gemm"), any_("c"), commute=True), numerics=Reassociates(), min_opset=7
)
def fuse_gemm_add(m: Match, rw: Rewriter) -> Replacement:
    """Add(Gemm(a, b), c) -> Gemm(a, b, c)."""
    gemm, a, b, c = m.node("gemm"), m["a"], m["b"], m["c"]
    left, right = _matrix(a), _matrix(b)
    rows = None if left is None else left[1 if gemm.attr("transA", 0) else 0]
    columns = None if right is None else right[0 if gemm.attr("transB", 0) else 1]
    return _with_addend(a, b, c, (rows, columns), {**gemm.attributes, "beta": 1.0}, m, rw)


def _with_addend(
    a: Value, b: Value, c: Value, result: Shape, attributes: dict[str, object], m: Match, rw: Rewriter
) -> Replacement:
    if c.rank is None or not keeps_shape(result, c.shape):
        return NoMatch("addend %s may broadcast the product", c.type)
    name = m.nodes[1].name
    return rw.new_node("Gemm", [a, b, c], attributes=attributes, name=name).output


class FoldTransposeIntoGemm(RewritePattern):
    """Gemm(Transpose(a), Transpose(b), c) -> Gemm[transA, transB](a, b, c)."""

    name: ClassVar[str] = "fold-transpose-into-gemm"
    roots: ClassVar[tuple[str, ...]] = ("Gemm",)
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Gemm(op.Transpose(any_("a")), any_("b"), rest("c")),
        op.Gemm(any_("a"), op.Transpose(any_("b")), rest("c")),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Either factor, or both."""
        inputs = list(node.inputs)
        attributes: dict[str, object] = dict(node.attributes)
        for position, name in enumerate(("transA", "transB")):
            value = inputs[position]
            transpose = None if value is None else value.producer
            if transpose is None or transpose.op != "Transpose" or transpose.has_references:
                continue
            if transpose.ints_attr("perm") in (None, (1, 0)):
                inputs[position] = transpose.inputs[0]
                attributes[name] = 0 if node.attr(name, 0) else 1
        if inputs == list(node.inputs):
            return NoMatch("no factor is transposed")
        return rw.new_node("Gemm", inputs, attributes=attributes, name=node.name).output


@dataclass(frozen=True)
class FuseMatmulAdd(RewritePass):
    """Make one Gemm of MatMul and Add on matrices, transpositions included. Re-associates; needs types; idempotent."""

    name: ClassVar[str] = "fuse-matmul-add"
    rules: ClassVar[tuple[Rule, ...]] = (fuse_matmul_add, fuse_gemm_add, FoldTransposeIntoGemm())
