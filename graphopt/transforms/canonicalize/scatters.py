"""Removes ScatterND that overwrites everything.

``ScatterND(data, [[0], [1], ..., [n - 1]], updates) -> updates`` where ``n`` is the size of the first axis of ``data``, a number or not:
exporters write ``x[:] = y`` that way, with ``Unsqueeze(Range(0, n, 1), -1)`` for the places. Exact.
Source: https://onnx.ai/onnx/operators/onnx__ScatterND.html
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graphopt.analysis import ShapeValues
from graphopt.ir import Dim, Node, Value
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, Rule, any_, const, op
from graphopt.transforms.known_shapes import shape_values
from graphopt.transforms.operands import constant_ints, ints_operand

__all__ = ["RULES"]


class EliminateScatter(RewritePattern):
    """ScatterND(data, all places of the first axis in order, updates) -> updates."""

    name: ClassVar[str] = "eliminate-scatter"
    roots: ClassVar[tuple[str, ...]] = ("ScatterND",)
    reach: ClassVar[int] = 6
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.ScatterND(any_("x"), const("places"), any_("x")),
        op.ScatterND(
            any_("x"),
            op.Unsqueeze(
                op.Range(const("first"), op.Gather(op.Shape(any_("x")), const("which")), const("step")), const("last")
            ),
            any_("x"),
        ),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Compare places and the first axis."""
        data, places, updates = node.inputs[:3]
        if data is None or places is None or updates is None or node.attr("reduction", "none") != "none":
            return NoMatch("updates are combined with what is there")
        values = shape_values(rw)
        shape = values.shape_of(data)
        if not shape:
            return NoMatch("the rank of %r is not known, or it has no axes", data.name)
        if updates.dtype is None or updates.dtype != data.dtype:
            return NoMatch("the types of data and updates are not known to be the same")
        if _is_counted(places, shape[0]) or _is_ranged(places, shape[0], values):
            return updates
        return NoMatch("places are not known to be all of the first axis, in order")


def _is_counted(places: Value, size: Dim) -> bool:
    """Whether constant places, [n, 1], are 0 to n - 1."""
    constant = places.const if places.is_constant else None
    if constant is None or not isinstance(size, int) or constant.shape != (size, 1):
        return False
    return bool(np.array_equal(constant.numpy().reshape(-1), np.arange(size)))


def _is_ranged(places: Value, size: Dim, values: ShapeValues) -> bool:
    """Whether computed places are a range from 0 to the size of the axis with a last axis of 1."""
    node = places.producer
    if node is None or node.op not in ("Unsqueeze", "Reshape") or node.inputs[0] is None:
        return False
    axes = ints_operand(node, "axes" if node.op == "Unsqueeze" else "shape", 1)
    if axes not in (((-1,), (1,)) if node.op == "Unsqueeze" else ((-1, 1),)):
        return False
    counted = node.inputs[0].producer
    if counted is None or counted.op != "Range" or None in counted.inputs:
        return False
    first, limit, step = (value for value in counted.inputs if value is not None)
    if constant_ints(first) != (0,) or constant_ints(step) != (1,):
        return False
    found = values.of(limit)
    return (
        found is not None and len(found.elements) == 1 and found.elements[0] is not None and found.elements[0] == size
    )


RULES: tuple[Rule, ...] = (EliminateScatter(),)
