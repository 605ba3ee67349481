"""Merges reshapes across operators between them that compute element by element.

``Reshape(f(Reshape(x))) -> Reshape(f(x))``, or ``f(x)`` where the shape is that of ``x`` again; ``f`` is a chain of operators of one
operand, of arithmetic with one number, and of Softmax along a last axis that both shapes have. Exact.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graphopt.ir import Node, Value
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op, rest
from graphopt.transforms.broadcasting import same_dim
from graphopt.transforms.movement.alignment import is_reached, producer_of, reshaped_dims
from graphopt.transforms.movement.elementwise import UNARY
from graphopt.transforms.operands import ints_operand
from graphopt.transforms.reshape_targets import target_entries

__all__ = ["RULES", "reshaped_like"]

_SHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
_WITH_NUMBER = frozenset({"Add", "Sub", "Mul", "Div", "Max", "Min", "Pow"})
_FARTHEST = 4


def reshaped_like(node: Node, x: Value, rw: Rewriter) -> Value | NoMatch:
    """What a node that changes shapes makes of another tensor with the same elements in the same order."""
    wanted = reshaped_dims(node)
    if wanted is None or x.shape is None:
        return NoMatch("a shape is not known")
    if is_reached(x.shape, wanted):
        return x
    target = ints_operand(node, "shape", 1) if node.op == "Reshape" and len(node.inputs) > 1 else None
    if isinstance(target, tuple) and 0 not in target:
        return rw.new("Reshape", x, node.inputs[1])
    entries = target_entries(wanted, x.shape)
    if entries is None or (node.opset or 0) < 5:
        return NoMatch("shape %s can't be stated for %s", node.output.type, x.type)
    return rw.new("Reshape", x, np.array(entries, np.int64))


def _operand(node: Node) -> int | None:
    """Position of the operand that a node goes over element by element."""
    if node.op in UNARY or node.op == "Clip" or (node.op == "Softmax" and (node.opset or 0) >= 13):
        return 0
    if node.op not in _WITH_NUMBER or len(node.inputs) != 2 or (node.opset or 0) < 7:
        return None
    for position in (0, 1):
        other = node.inputs[1 - position]
        if other is not None and other.is_constant and other.const is not None and other.const.size == 1:
            return position
    return None


class MergeReshapesAroundElementwise(RewritePattern):
    """Reshape(f(Reshape(x))) -> Reshape(f(x)), or f(x)."""

    name: ClassVar[str] = "merge-reshapes-around-elementwise"
    roots: ClassVar[tuple[str, ...]] = _SHAPES
    reach: ClassVar[int] = 4
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op[_SHAPES](op["Relu", "Neg", "Exp"](op[_SHAPES](any_("x"), rest("first"))), rest("second")),
        op[_SHAPES](op["Mul", "Add"](op[_SHAPES](any_("x"), rest("first")), const("c", scalar=True)), rest("second")),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Walk up to the first node that changes the shape."""
        chain: list[Node] = []
        value = node.input_at(0)
        while len(chain) < _FARTHEST:
            above = None if value is None else value.producer
            position = None if above is None else _operand(above)
            if above is None or position is None or producer_of(value, (above.op,), node) is None:
                break
            chain.append(above)
            value = above.inputs[position]
        inner = None if value is None else value.producer
        if not chain or value is None or inner is None or inner.op not in _SHAPES or inner.has_references:
            return NoMatch("no operators between two nodes that change shapes")
        x = inner.inputs[0]
        if x is None or x.shape is None:
            return NoMatch("the shape of the input is not known")
        reason = self._reason(chain, value, x)
        if reason is not None:
            return reason
        if not value.has_single_use and not is_reached(x.shape, reshaped_dims(node) or ()):
            return NoMatch("%r stays, merging would save nothing", value.name)
        result = x
        for item in reversed(chain):
            position = _operand(item) or 0
            inputs = list(item.inputs)
            inputs[position] = result
            attributes: dict[str, object] = dict(item.attributes)
            if item.op == "Softmax":
                attributes["axis"] = -1
            result = rw.new_node(item.op, inputs, attributes=attributes, name=item.name).output
        rw.type_of(result)
        return reshaped_like(node, result, rw)

    @staticmethod
    def _reason(chain: list[Node], value: Value, x: Value) -> NoMatch | None:
        """Why some operator of the chain would mean something else for the other shape."""
        for item in chain:
            number = next((other for other in item.inputs if other is not None and other.is_constant), None)
            if (
                item.op in _WITH_NUMBER
                and number is not None
                and (number.rank or 0) > min(value.rank or 0, x.rank or 0)
            ):
                return NoMatch("%r would raise the rank", number.name)
            if item.op != "Softmax":
                continue
            axis, rank = item.int_attr("axis", -1), value.rank
            if rank is None or value.shape is None or axis % rank != rank - 1 or not x.shape:
                return NoMatch("Softmax is not along the last axis")
            if not same_dim(x.shape[-1], value.shape[-1]):
                return NoMatch("the last axis of %s becomes another one", x.type)
        return None


RULES = (MergeReshapesAroundElementwise(),)
