"""Merges Transpose nodes with the nodes around them that only change shapes.

``Reshape(Transpose(Reshape(x))) -> Transpose(x)``, with a Reshape behind it where the shape is another one, and ``Transpose(Reshape(
Transpose(x))) -> Reshape(Transpose(x))``: where the axes that a Reshape joins or splits move together, the Transpose can stand on the
other side of it. A Transpose that moves axes of size 1 only becomes a Reshape beside another one. PyTorch's exporters spell the
transposition of keys in attention so. Exact: no number is touched. Source: https://onnx.ai/onnx/operators/onnx__Transpose.html
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graphopt.ir import Dim, Node, Shape, Value
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, op, rest
from graphopt.transforms.movement.alignment import align, is_reached, lift_order, order_of, producer_of, reshaped_dims
from graphopt.transforms.operands import ints_operand
from graphopt.transforms.reshape_targets import target_entries

__all__ = ["RULES"]

_SHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")


def _permuted(shape: Shape, order: tuple[int, ...]) -> tuple[Dim, ...]:
    return tuple(shape[axis] for axis in order)


def _transposed(x: Value, order: tuple[int, ...], rw: Rewriter) -> Value:
    return x if order == tuple(range(len(order))) else rw.new("Transpose", x, perm=order)


class MergeReshapedTranspose(RewritePattern):
    """Reshape(Transpose(Reshape(x))) -> Transpose(x), or Reshape(Transpose(x))."""

    name: ClassVar[str] = "merge-reshaped-transpose"
    roots: ClassVar[tuple[str, ...]] = _SHAPES
    reach: ClassVar[int] = 3
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op[_SHAPES](op.Transpose(op[_SHAPES](any_("x"), rest("first"))), rest("second")),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Find the three nodes, then the axes that move together."""
        transpose = producer_of(node.input_at(0), ("Transpose",), node)
        middle = None if transpose is None else transpose.inputs[0]
        inner = None if middle is None else middle.producer
        if transpose is None or middle is None or inner is None or inner.op not in _SHAPES or inner.has_references:
            return NoMatch("no Transpose between two nodes that change shapes")
        x, wanted, joined = inner.inputs[0], reshaped_dims(node), reshaped_dims(inner)
        if x is None or x.shape is None or wanted is None or joined is None:
            return NoMatch("a shape is not known")
        moved = order_of(transpose, len(joined))
        blocks = align(x.shape, joined)
        order = None if moved is None else lift_order(moved, blocks, joined)
        if order is None:
            return NoMatch("axes %s of %s do not move together", x.shape, joined)
        shape = _permuted(x.shape, order)
        if is_reached(shape, wanted):
            return _transposed(x, order, rw)
        if not middle.has_single_use or inner.graph is not node.graph:
            return NoMatch("%r stays, merging would save nothing", middle.name)
        target = ints_operand(node, "shape", 1) if node.op == "Reshape" and len(node.inputs) > 1 else None
        if isinstance(target, tuple) and 0 not in target:
            return rw.new("Reshape", _transposed(x, order, rw), node.inputs[1])
        entries = target_entries(wanted, shape)
        if entries is None or (node.opset or 0) < 5:
            return NoMatch("shape %s can't be stated for %s", node.output.type, x.type)
        return rw.new("Reshape", _transposed(x, order, rw), np.array(entries, np.int64))


class MergeTransposeAcrossReshape(RewritePattern):
    """Transpose(Reshape(Transpose(x))) -> Reshape(Transpose(x)), or Reshape(x)."""

    name: ClassVar[str] = "merge-transpose-across-reshape"
    roots: ClassVar[tuple[str, ...]] = ("Transpose",)
    reach: ClassVar[int] = 3
    contexts: ClassVar[tuple[Pattern, ...]] = (op.Transpose(op[_SHAPES](op.Transpose(any_("x")), rest("how"))),)

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Take the second Transpose to the other side of the Reshape."""
        reshape = producer_of(node.input_at(0), _SHAPES, node)
        inner = None if reshape is None else producer_of(reshape.input_at(0), ("Transpose",), node)
        if reshape is None or inner is None or (node.opset or 0) < 5:
            return NoMatch("no Reshape between two Transpose nodes")
        x, joined, before = inner.inputs[0], reshaped_dims(reshape), inner.output.shape
        first = None if before is None else order_of(inner, len(before))
        moved = None if joined is None else order_of(node, len(joined))
        if x is None or joined is None or before is None or first is None or moved is None:
            return NoMatch("a shape is not known")
        order = lift_order(moved, align(before, joined), joined)
        if order is None:
            return NoMatch("axes %s of %s do not move together", before, joined)
        shape = _permuted(before, order)
        entries = target_entries(_permuted(joined, moved), shape)
        if entries is None:
            return NoMatch("shape %s can't be stated for %s", node.output.type, shape)
        return rw.new("Reshape", _transposed(x, tuple(first[axis] for axis in order), rw), np.array(entries, np.int64))


class ReshapeInsteadOfTranspose(RewritePattern):
    """Transpose(x) -> Reshape(x) where only axes of size 1 move and a neighbour changes the shape too."""

    name: ClassVar[str] = "reshape-instead-of-transpose"
    roots: ClassVar[tuple[str, ...]] = ("Transpose",)
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Transpose(op[_SHAPES](any_("x"), rest("how"))),
        op[_SHAPES](op.Transpose(any_("x")), rest("how")),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Sizes of axes that change places must be 1."""
        x = node.inputs[0]
        if x is None or x.shape is None or (node.opset or 0) < 5:
            return NoMatch("the shape is not known")
        order = order_of(node, len(x.shape))
        if order is None:
            return NoMatch("the order of axes does not fit")
        wide = [axis for axis in order if x.shape[axis] != 1]
        if wide != sorted(wide) or order == tuple(range(len(order))):
            return NoMatch("axes of %s that are not 1 change places", x.type)
        above = node.output.users[0] if node.output.has_single_use else None
        if producer_of(x, _SHAPES, node) is None and (
            above is None or above.op not in _SHAPES or above.graph is not node.graph
        ):
            return NoMatch("no neighbour changes the shape")
        entries = target_entries(_permuted(x.shape, order), x.shape)
        if entries is None:
            return NoMatch("shape %s can't be stated for %s", node.output.type, x.type)
        return rw.new("Reshape", x, np.array(entries, np.int64))


RULES = (MergeReshapedTranspose(), MergeTransposeAcrossReshape(), ReshapeInsteadOfTranspose())
