"""Moves multiplications by one number into weights.

``Mul(m(op(x, w) + b), c) -> m(op(x, w * c) + b * c)``, and Div, where ``m`` moves data or sums it (Reshape, Transpose, Slice, ReduceMean,
products with other tensors, …) and ``op`` is a MatMul, Gemm, Conv, ConvTranspose, Gather or Mul with constants that nobody else reads; a
part that Split or Gather takes of a packed product is multiplied in its columns. ``x / √d`` of attention goes into the projection of
queries so. ``MatMul(a * c, b * d) -> MatMul(a * (c * d), b)``. Touches weights. Numerics: re-associates.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graphopt.ir import Node, Value
from graphopt.numerics import Numerics
from graphopt.rewriting import (
    Match,
    NoMatch,
    Pattern,
    Reassociates,
    Replacement,
    RewritePattern,
    Rewriter,
    any_,
    const,
    one_of,
    op,
    rest,
    rewrite,
)
from graphopt.transforms.broadcasting import keeps_shape
from graphopt.transforms.fusion.linear import read_linear, round_to
from graphopt.transforms.strength.packed_factors import Scaled, scaled_constant, weights_of_part

__all__ = ["RULES"]

#: Operators that hand on, add up or average numbers of their first input, so that factors go through them.
_THROUGH = frozenset({
    "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Expand", "Tile", "DepthToSpace", "SpaceToDepth",
    "ReduceSum", "ReduceMean", "GlobalAveragePool", "AveragePool",
})  # fmt: skip
_LINEAR = frozenset({"MatMul", "Gemm", "Conv", "ConvTranspose"})
#: Nodes that are looked at between a factor and the weights.
_FARTHEST = 8
#: Weights, and terms, up to these sizes may be kept beside the changed ones when somebody else reads them.
_WEIGHT_BYTES, _TERM_BYTES = 1 << 10, 1 << 14
_LIMIT = 1e4


def _weights_behind(value: Value | None, reader: Node, factor: float, left: int) -> list[Scaled] | NoMatch:
    """What to change so that ``value`` is multiplied by ``factor``."""
    node = None if value is None else value.producer
    if (
        value is None
        or node is None
        or not value.has_single_use
        or node.graph is not reader.graph
        or node.has_references
    ):
        return NoMatch("weights are behind a value that others read")
    if not left:
        return NoMatch("weights are too far away")
    if node.op in _THROUGH:
        return _weights_behind(node.inputs[0], node, factor, left - 1)
    if node.op in ("Add", "Sub") and len(node.inputs) == 2:
        return _behind_term(node, factor, left)
    if node.op == "Mul":
        return _in_factor(node, factor)
    if node.op == "Gather" and node.inputs[0] is not None and node.inputs[0].is_constant:
        return _scaled_input(node, 0, factor, shared=0)
    if node.op in ("Gather", "Split"):
        return weights_of_part(value, factor)
    if node.op not in _LINEAR:
        return NoMatch("%s is not linear, or has no weights", node.op)
    linear = read_linear(node, scaled=True)
    if not isinstance(linear, NoMatch):
        weights = _scaled_input(node, 1, factor, shared=_WEIGHT_BYTES)
        if isinstance(weights, NoMatch) or linear.bias is None:
            return weights
        bias = _scaled_input(node, 2, factor, shared=_TERM_BYTES)
        return bias if isinstance(bias, NoMatch) else weights + bias
    if node.op != "MatMul":
        return linear
    first = _weights_behind(node.inputs[0], node, factor, left - 1)
    return _weights_behind(node.inputs[1], node, factor, left - 1) if isinstance(first, NoMatch) else first


def _behind_term(node: Node, factor: float, left: int) -> list[Scaled] | NoMatch:
    """The weights behind a sum of a value and a constant, with the constant."""
    for position in (1, 0):
        term = node.inputs[position]
        if term is not None and term.is_constant:
            found = _weights_behind(node.inputs[1 - position], node, factor, left - 1)
            scaled = found if isinstance(found, NoMatch) else _scaled_input(node, position, factor, shared=_TERM_BYTES)
            return found + scaled if isinstance(found, list) and isinstance(scaled, list) else scaled
    return NoMatch("no term is constant")


def _in_factor(node: Node, factor: float) -> list[Scaled] | NoMatch:
    """A product with a constant takes the factor into that."""
    for position in (1, 0):
        other = node.inputs[position]
        if other is not None and other.is_constant:
            return _scaled_input(node, position, factor, shared=_WEIGHT_BYTES)
    return NoMatch("no operand of Mul is constant")


def _scaled_input(node: Node, position: int, factor: float, *, shared: int) -> list[Scaled] | NoMatch:
    return scaled_constant(node, position, np.array(factor), shared=shared)


class MoveFactorIntoWeights(RewritePattern):
    """Mul(m(MatMul(x, w)), c) -> m(MatMul(x, w * c))."""

    name: ClassVar[str] = "move-factor-into-weights"
    roots: ClassVar[tuple[str, ...]] = ("Mul", "Div")
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 3
    contexts: ClassVar[tuple[Pattern, ...]] = tuple(
        op["Mul", "Div"](inner, const("c", scalar=True))
        for inner in (
            op["Reshape", "Transpose"](op.MatMul(any_("x"), const("w")), rest("how")),
            op.Transpose(op.Add(op.MatMul(any_("x"), const("w")), const("b"))),
            op.MatMul(op.Transpose(op.MatMul(any_("x"), const("w"))), any_("y")),
            op.Reshape(op.Conv(any_("x"), const("w"), const("b", optional=True)), const("to")),
            op.Gather(const("table"), any_("which")),
            op.Reshape(op.Mul(any_("x"), const("scales")), const("to")),
            op.Split(op.MatMul(any_("x"), const("w")), const("sizes", optional=True), axis=-1),
            op.Gather(op.Transpose(op.Add(op.MatMul(any_("x"), const("w")), const("b"))), const("which")),
        )
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Find one constant number, then weights that it can go into."""
        for position in (1,) if node.op == "Div" else (1, 0):
            constant, x = node.inputs[position], node.inputs[1 - position]
            if constant is None or x is None or not constant.is_constant or constant.const is None:
                continue
            if constant.const.size != 1 or not keeps_shape(x.shape, constant.shape) or (node.opset or 0) < 7:
                return NoMatch("the factor is no single number")
            number = float(constant.const.numpy().reshape(-1)[0]) if constant.const.dtype.is_float else 0.0
            if not 1 / _LIMIT <= abs(number) <= _LIMIT:
                return NoMatch("factor %g is zero, extreme or not finite", number)
            found = _weights_behind(x, node, 1 / number if node.op == "Div" else number, _FARTHEST)
            if isinstance(found, NoMatch):
                return found
            for item in found:
                old = item.node.inputs[item.position]
                rw.set_input(item.node, item.position, rw.constant(item.array, "" if old is None else old.name))
            return x
        return NoMatch("no factor is constant")


_LEFT = one_of(
    op.Mul(any_("a"), const("c", scalar=True), commute=True, name="left"),
    op.Div(any_("a"), const("c", scalar=True), name="left"),
)
_RIGHT = one_of(
    op.Mul(any_("b"), const("d", scalar=True), commute=True, name="right"),
    op.Div(any_("b"), const("d", scalar=True), name="right"),
)


@rewrite(op.MatMul(_LEFT, _RIGHT), numerics=Reassociates(), min_opset=7)
def join_factors(m: Match, rw: Rewriter) -> Replacement:
    """MatMul(a * c, b * d) -> MatMul(a * (c * d), b)."""
    a, b, c, d = m["a"], m["b"], m["c"], m["d"]
    if c.const is None or d.const is None or c.const.dtype != d.const.dtype or not c.const.dtype.is_float:
        return NoMatch("factors are of types %s and %s", c.dtype, d.dtype)
    if not keeps_shape(a.shape, c.shape) or not keeps_shape(b.shape, d.shape):
        return NoMatch("a factor may raise a rank")
    product = 1.0
    for constant, name in ((c.const, "left"), (d.const, "right")):
        number = float(constant.numpy().reshape(-1)[0])
        if not 1 / _LIMIT <= abs(number) <= _LIMIT:
            return NoMatch("factor %g is zero, extreme or not finite", number)
        product *= 1 / number if m.node(name).op == "Div" else number
    factor = round_to(np.array(product), c.const.dtype)
    if isinstance(factor, NoMatch):
        return factor
    return rw.new("MatMul", rw.new("Mul", a, factor), b, name=m.root.name)


RULES = (MoveFactorIntoWeights(), join_factors)
