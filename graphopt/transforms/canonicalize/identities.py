"""Removes nodes that hand on their input: Identity, operators of any number of inputs with one, Dropout in inference.

``Identity(x) -> x``; ``Sum|Mean|Max|Min|Concat(x) -> x``; ``Dropout(x) -> x`` where it drops nothing, its mask being all true. Exact for
every type. Source: https://onnx.ai/onnx/operators/onnx__Dropout.html
"""

from __future__ import annotations

import math

import numpy as np

from graphopt.ir import Node, Value
from graphopt.rewriting import IN_PLACE, Match, NoMatch, Replacement, Rewriter, any_, op, rest, rewrite
from graphopt.transforms.broadcasting import static_shape

__all__ = ["RULES"]

#: A mask of up to this many elements becomes a constant, a larger one is filled when the model runs.
_MASK_ELEMENTS = 256


@rewrite(op.Identity(any_("x")))
def eliminate_identity(m: Match, rw: Rewriter) -> Replacement:
    """Identity(x) -> x; one that gives an input, constant or captured value another name at a graph output stays for that."""
    x, old = m["x"], m.root.output
    if not old.is_graph_output or (x.producer is not None and x.home is m.root.graph and not x.is_graph_output):
        return x
    return _redirect(old, x, rw)


def _redirect(old: Value, new: Value, rw: Rewriter) -> Replacement:
    """Let nodes read ``new``; the graph goes on to give out ``old``."""
    if not old.use_count:
        return NoMatch("%r can't take the name of graph output %r", new.name, old.name)
    for node, position in old.uses:
        rw.set_input(node, position, new)
    return IN_PLACE


@rewrite(op["Sum", "Mean", "Max", "Min", "Concat"](any_("x")))
def eliminate_single_operand(m: Match, rw: Rewriter) -> Replacement:
    """Sum(x), Mean(x), Max(x), Min(x), Concat(x) -> x."""
    return m["x"]


@rewrite(op["And", "Or", "Max", "Min", "BitwiseAnd", "BitwiseOr"](any_("x"), any_("x")))
def eliminate_equal_operands(m: Match, rw: Rewriter) -> Replacement:
    """And(x, x), Or(x, x), Max(x, x), Min(x, x) -> x."""
    return m["x"]


def _drops_nothing(dropout: Node) -> NoMatch | None:
    """``None`` if the node copies its input, whatever the random numbers are."""
    opset = dropout.opset or 0
    if opset >= 12:
        mode = dropout.input_at(2)
        if mode is None:
            return None
        training = mode.array()
        return None if training is not None and not training.any() else NoMatch("training_mode may be true")
    if opset < 7 and dropout.attr("is_test", 0) != 1:
        return NoMatch("is_test is 0: it drops at random")
    return None


@rewrite(op.Dropout(any_("x"), rest("ratio_and_mode")))
def eliminate_dropout(m: Match, rw: Rewriter) -> Replacement:
    """Dropout(x) -> x and a mask of true, in inference; before opset 12, where a used mask is not defined, only x is handed on."""
    x, dropout = m["x"], m.root
    reason = _drops_nothing(dropout)
    if reason is not None:
        return reason
    if len(dropout.outputs) == 1:
        return x
    mask, opset = dropout.outputs[1], dropout.opset or 0
    if not mask.is_used:
        return [x, *[None] * (len(dropout.outputs) - 1)]
    if opset < 12:
        return _redirect(dropout.output, x, rw)
    shape = static_shape(x.shape)
    if shape is not None and math.prod(shape) <= _MASK_ELEMENTS:
        return [x, rw.constant(np.ones(shape, np.bool_))]
    return [x, rw.new("ConstantOfShape", rw.new("Shape", x), value=np.array([True]))]


RULES = (eliminate_identity, eliminate_single_operand, eliminate_equal_operands, eliminate_dropout)
