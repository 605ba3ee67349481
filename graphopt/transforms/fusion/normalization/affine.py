"""Moves what a normalization is multiplied with, and what is added to it, into its scale and bias.

``LayerNormalization(x, s) * w -> LayerNormalization(x, s * w)``, ``LayerNormalization(x, s) + b -> LayerNormalization(x, s, b)``, with one
number for each normalized element; so for RMSNormalization (scale only). ``InstanceNormalization(x, s, b) * w + c`` with one number for
each channel, so for GroupNormalization. Touches weights. Numerics: re-associates. Source:
https://onnx.ai/onnx/operators/onnx__LayerNormalization.html, onnx__InstanceNormalization.html
"""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np

from graphopt.ir import Array, Node, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.expressions import other_operand, producer

__all__ = ["LAYER_NORMS", "AddToNormalization", "ScaleNormalization"]

#: Over the last axes: the scale has the shape of these.
LAYER_NORMS: Final = ("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")
#: By channel: scale and bias have one number for each.
_CHANNEL_NORMS: Final = ("InstanceNormalization", "GroupNormalization")
_X = any_("x")


def _norm_and_other(node: Node) -> tuple[Node, Value] | NoMatch:
    """The normalization among two operands, which nobody else reads, and the other operand."""
    for value in node.inputs:
        norm = producer(value, *LAYER_NORMS, *_CHANNEL_NORMS)
        other = None if norm is None or value is None else other_operand(node, value)
        if norm is None or value is None or other is None or other is value:
            continue
        if not value.has_single_use or norm.graph is not node.graph or any(item.is_used for item in norm.outputs[1:]):
            return NoMatch("%r has other users", value.name)
        if norm.attributes and norm.has_references:
            return NoMatch("an attribute of %s refers to one of the surrounding function", norm.op)
        if norm.op == "GroupNormalization" and (norm.opset or 0) < 21:
            return NoMatch("scale and bias of GroupNormalization were those of groups before opset 21")
        return norm, other
    return NoMatch("no operand is a normalization")


def _fitting(norm: Node, other: Value) -> Value | Array | NoMatch:
    """The other operand in the shape of the scale: as it is, or its numbers."""
    scale, x = norm.inputs[1], norm.inputs[0]
    if scale is None or x is None or scale.dtype != other.dtype or scale.shape is None:
        return NoMatch("types of %r and the scale do not fit", other.name)
    channels = norm.op in _CHANNEL_NORMS
    if not channels and other.shape is not None and other.shape == scale.shape and None not in other.shape:
        return other
    numbers, sizes = other.array(), scale.const.shape if scale.const is not None else ()
    if numbers is None or x.rank is None or numbers.ndim > x.rank:
        return NoMatch("%r is neither a constant nor of the shape of the scale", other.name)
    wanted = (*sizes, *[1] * (x.rank - 2)) if channels else sizes
    given = numbers.shape
    while len(given) > len(wanted) and given[0] == 1:
        given = given[1:]
    if numbers.size == 1:
        return np.full(sizes, numbers.reshape(-1)[0])
    return np.reshape(numbers, sizes) if given == wanted else NoMatch("%r is %s", other.name, other.type)


def _is_all(value: Value | None, number: float) -> bool:
    array = None if value is None else value.array()
    return array is not None and bool(np.all(array == number))


def _times(a: Value | Array, b: Value | Array | None) -> Value | Array | None:
    """The product of a scale with what it is multiplied with, ``None`` where it can't be worked out."""
    if isinstance(b, Value) and _is_all(b, 1.0):
        return a
    left, right = _numbers(a), _numbers(b)
    return None if left is None or right is None else np.multiply(left, right)


def _plus(a: Value | Array, b: Value | None) -> Value | Array | None:
    if b is None or _is_all(b, 0.0):
        return a
    left, right = _numbers(a), _numbers(b)
    return None if left is None or right is None else np.add(left, right)


def _numbers(item: Value | Array | None) -> Array | None:
    return item.array() if isinstance(item, Value) else item


def _rebuilt(norm: Node, scale: Value | Array | None, bias: Value | Array | None, rw: Rewriter) -> Replacement:
    rw.matched = (rw.root, norm)
    made = rw.new_node(norm.op, [norm.inputs[0], scale, bias], attributes=dict(norm.attributes), name=norm.name)
    return made.output


class ScaleNormalization(RewritePattern):
    """LayerNormalization(x, s) * w -> LayerNormalization(x, s * w), InstanceNormalization likewise."""

    name: ClassVar[str] = "scale-normalization"
    roots: ClassVar[tuple[str, ...]] = ("Mul",)
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Mul(op.LayerNormalization(_X, const("ones", equal_to=1.0)), const("w")),
        op.Mul(op.LayerNormalization(_X, const("ones", equal_to=1.0)), const("w", scalar=True)),
        op.Mul(op.InstanceNormalization(_X, const("s"), const("b")), const("w", scalar=True)),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """The scale is constant, or ones; so is the bias, where there is one."""
        found = _norm_and_other(node)
        if isinstance(found, NoMatch):
            return found
        norm, other = found
        factor = _fitting(norm, other)
        if isinstance(factor, NoMatch):
            return factor
        scale, bias = _times(factor, norm.inputs[1]), norm.input_at(2)
        new_bias = bias if bias is None or _is_all(bias, 0.0) else _times(factor, bias)
        if scale is None or (bias is not None and new_bias is None):
            return NoMatch("scale or bias is not constant")
        return _rebuilt(norm, scale, new_bias, rw)


class AddToNormalization(RewritePattern):
    """LayerNormalization(x, s) + b -> LayerNormalization(x, s, b), InstanceNormalization likewise."""

    name: ClassVar[str] = "add-to-normalization"
    roots: ClassVar[tuple[str, ...]] = ("Add",)
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Add(op.LayerNormalization(_X, const("s")), const("b")),
        op.Add(op.LayerNormalization(_X, const("s")), const("b", scalar=True)),
        op.Add(op.InstanceNormalization(_X, const("s"), const("b")), const("c", scalar=True)),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """The bias is constant or absent."""
        found = _norm_and_other(node)
        if isinstance(found, NoMatch):
            return found
        norm, other = found
        if norm.op not in ("LayerNormalization", *_CHANNEL_NORMS):
            return NoMatch("%s has no bias", norm.op)
        term = _fitting(norm, other)
        if isinstance(term, NoMatch):
            return term
        bias = _plus(term, norm.input_at(2))
        return NoMatch("the bias is not constant") if bias is None else _rebuilt(norm, norm.inputs[1], bias, rw)
