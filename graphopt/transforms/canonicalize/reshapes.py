"""Removes nodes that change a shape into itself, and merges chains of nodes that only change shapes.

Reshape, Flatten, Squeeze and Unsqueeze hand on the same numbers in the same order, so a chain of them is its last shape: one Reshape of the
first input, if that shape can be stated. A stated shape has numbers, ``0`` where the axis has the size that the input has there, and
``-1`` where everything else is a number that is not zero (``-1`` has no answer for empty tensors). Squeeze and Unsqueeze among each other
need no shapes. A computed target becomes a stated one where the shape is known. Exact. Source: https://onnx.ai/onnx/operators/onnx__Reshape.html
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graphopt.ir import Node, Shape, Value
from graphopt.rewriting import IN_PLACE, NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, op, rest
from graphopt.transforms.broadcasting import same_shape
from graphopt.transforms.operands import ints_operand, normalize_axes
from graphopt.transforms.reshape_targets import target_entries

__all__ = ["RULES"]

_OPS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")


class EliminateReshape(RewritePattern):
    """Reshape(x), Flatten(x), Squeeze(x), Unsqueeze(x) -> x, where the shape stays as it is."""

    name: ClassVar[str] = "eliminate-reshape"
    roots: ClassVar[tuple[str, ...]] = _OPS
    reach: ClassVar[int] = 1

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Compare shapes, then what the operator says."""
        x = node.input_at(0)
        if x is None:
            return NoMatch("an input is absent")
        have, wanted = x.shape, node.output.shape
        if same_shape(have, wanted):
            return x
        if have is None:
            return NoMatch("the rank of %r is not known", x.name)
        if node.op in ("Squeeze", "Unsqueeze"):  # each of them changes the rank or nothing
            if wanted is not None and len(wanted) == len(have) and ints_operand(node, "axes", 1) != ():
                return x
        elif node.op == "Flatten":
            if len(have) == 2 and node.attr("axis", 1) in (1, -1):
                return x
        elif _states(node, have):
            return x
        return NoMatch("%s becomes %s", x.type, node.output.type)


def _states(reshape: Node, have: Shape) -> bool:
    """Whether the constant target of a Reshape certainly is the shape of its input."""
    target = ints_operand(reshape, "shape", 1)
    if not isinstance(target, tuple) or len(target) != len(have) or target.count(-1) > 1:
        return False
    literal_zero = reshape.attr("allowzero", 0) == 1
    return all(entry in (-1, dim) or (entry == 0 and not literal_zero) for entry, dim in zip(target, have, strict=True))


class StateReshapeTarget(RewritePattern):
    """Reshape(x, computed) -> Reshape(x, constant), where the shape of the result is known and can be stated."""

    name: ClassVar[str] = "state-reshape-target"
    roots: ClassVar[tuple[str, ...]] = ("Reshape",)
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (op.Reshape(op.Relu(any_("x")), op.Shape(any_("x"))),)

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Whatever ``allowzero`` is: sizes of the input are copied, none is stated as zero."""
        x, target = node.input_at(0), node.input_at(1)
        if x is None or target is None or target.is_constant:
            return NoMatch("the target is not computed")
        wanted = node.output.shape
        if wanted is None or None in wanted or node.output.is_graph_output:
            return NoMatch("the shape of the result is not known, or only promised to callers")
        entries = target_entries(wanted, x.shape)
        if entries is None:
            return NoMatch("shape %s can't be stated for %s", node.output.type, x.type)
        return rw.new("Reshape", x, np.array(entries, np.int64), name=node.name)


class MergeReshapes(RewritePattern):
    """Any two of Reshape, Flatten, Squeeze, Unsqueeze -> one of them, or nothing."""

    name: ClassVar[str] = "merge-reshapes"
    roots: ClassVar[tuple[str, ...]] = _OPS
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (op[_OPS](op[_OPS](any_("x"), rest("first")), rest("second")),)

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """From what needs least knowledge to what needs most."""
        given = node.input_at(0)
        inner = None if given is None else given.producer
        if given is None or inner is None or inner.op not in _OPS or inner.has_references:
            return NoMatch("the input is not from an operator that changes shapes")
        x = inner.inputs[0]
        assert x is not None, "the data of operators that change shapes is not optional"
        if same_shape(x.shape, node.output.shape):
            return x
        if {node.op, inner.op} == {"Squeeze", "Unsqueeze"} and self._undoes(node, inner):
            return x
        if not self._dies_soon(given):
            return NoMatch("%r stays, merging would save nothing", given.name)
        if node.op == "Reshape" and self._is_absolute(node):
            rw.set_input(node, 0, x)
            return IN_PLACE
        if not given.has_single_use or inner.graph is not node.graph:
            return NoMatch("%r stays, merging would save nothing", given.name)
        if node.op == inner.op and node.op in ("Squeeze", "Unsqueeze"):
            axes = self._all_axes(node, inner)
            if axes is not None:
                return _with_axes(node.op, x, axes, node, rw)
        wanted = node.output.shape
        entries = None if wanted is None else target_entries(wanted, x.shape)
        if entries is None or (node.opset or 0) < 5:
            return NoMatch("shape %s can't be stated for %s", node.output.type, x.type)
        return rw.new("Reshape", x, np.array(entries, np.int64))

    @staticmethod
    def _dies_soon(value: Value) -> bool:
        users = value.users
        return not value.is_graph_output and (len(users) == 1 or all(user.op == "Reshape" for user in users))

    @staticmethod
    def _is_absolute(reshape: Node) -> bool:
        """Whether a constant target refers to no size of the input."""
        target = ints_operand(reshape, "shape", 1)
        return isinstance(target, tuple) and (0 not in target or reshape.attr("allowzero", 0) == 1)

    @staticmethod
    def _undoes(outer: Node, inner: Node) -> bool:
        """Whether a Squeeze and an Unsqueeze name the same axes of the same (larger) rank."""
        first, second = ints_operand(inner, "axes", 1), ints_operand(outer, "axes", 1)
        if not isinstance(first, tuple) or not isinstance(second, tuple) or len(first) != len(second) or not first:
            return False
        if set(first) == set(second):
            return True
        wide = inner.output if inner.op == "Unsqueeze" else outer.output
        if wide.rank is None:
            return False
        a, b = normalize_axes(first, wide.rank), normalize_axes(second, wide.rank)
        return isinstance(a, tuple) and isinstance(b, tuple) and set(a) == set(b)

    @staticmethod
    def _all_axes(outer: Node, inner: Node) -> tuple[int, ...] | None:
        """Axes of one Squeeze or Unsqueeze that does what two do."""
        first, second = ints_operand(inner, "axes", 1), ints_operand(outer, "axes", 1)
        if not isinstance(first, tuple) or not isinstance(second, tuple) or not first or not second:
            return None  # no axes in a list: none to the specification, all to ONNX Runtime
        if outer.op == "Squeeze":  # inner axes count in x, outer ones in what is left of it
            x, middle = inner.inputs[0], inner.output
            before = normalize_axes(first, x.rank if x is not None else None)
            after = normalize_axes(second, middle.rank)
        else:  # outer axes count in the result, inner ones in what is left of it without them
            before = normalize_axes(second, outer.output.rank)
            after = normalize_axes(first, inner.output.rank)
        if not isinstance(before, tuple) or not isinstance(after, tuple):
            return None
        size = len(before) + max(after, default=0) + 1
        kept = [axis for axis in range(size + max(before, default=0)) if axis not in before]
        return tuple(sorted([*before, *(kept[axis] for axis in after)]))


def _with_axes(op: str, x: Value, axes: tuple[int, ...], like: Node, rw: Rewriter) -> Value:
    """Squeeze or Unsqueeze in the spelling of the opset."""
    if (like.opset or 0) < 13:
        return rw.new(op, x, axes=axes)
    return rw.new(op, x, np.array(axes, np.int64))


RULES = (EliminateReshape(), StateReshapeTarget(), MergeReshapes())
