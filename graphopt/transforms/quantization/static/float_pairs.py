"""Q/DQ pairs and stored constants, taken away: what a quantized model was before it was quantized, as far as that can be told.

``Dequantize(Quantize(x)) -> x``, or ``Clip(x)`` where the integers stand for no negative numbers (or no positive ones) and ``x`` has some:
quantizers leave out a Relu that integers imply. ``Dequantize(constant)`` -> a float constant; ``Dequantize(Reshape(q)) ->
Reshape(Dequantize(q))`` for operators that only move numbers. Numerics: lossy for the first (``x`` is not rounded any more), the others
are exact.
"""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np

from graphopt.ir import Node, Value, constant_of
from graphopt.numerics import Exact, Lossy, Numerics
from graphopt.rewriting import NoMatch, Replacement, RewritePattern, Rewriter
from graphopt.transforms.quantization.parameters import represented
from graphopt.transforms.quantization.static.roles import clip_bounds, data_inputs
from graphopt.transforms.quantization.static.stored import DEQUANTIZE, QUANTIZE, parameters_of, stored_by

__all__ = ["MOVING", "DecodeConstant", "DequantizeEarlier", "DropRoundTrip", "is_never_negative"]

#: Operators that move or choose numbers, with one output.
MOVING: Final = frozenset(
    {
        "Concat",
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "GatherElements",
        "Identity",
        "MaxPool",
        "Reshape",
        "Slice",
        "SpaceToDepth",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)
_NEVER_NEGATIVE: Final = frozenset({"Abs", "Exp", "HardSigmoid", "Relu", "Sigmoid", "Softmax", "Softplus"})
_KEEPS_SIGN: Final = frozenset(
    {"Add", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Max", "Mul", "ReduceMean", "Sqrt"}
)
_CLIP_WITH_INPUTS: Final = 11


class DropRoundTrip(RewritePattern):
    """DequantizeLinear(QuantizeLinear(x)) -> x, or Clip(x) where that may have stood for an activation, times the ratio of scales."""

    name: ClassVar[str] = "drop-round-trip"
    roots: ClassVar[tuple[str, ...]] = DEQUANTIZE
    numerics: ClassVar[Numerics] = Lossy()

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Apply where x has the type of the result."""
        stored = node.inputs[0]
        pair = None if stored is None else stored.producer
        if pair is None or pair.op not in QUANTIZE or stored is None:
            return NoMatch("what is dequantized was not quantized")
        x = pair.inputs[0]
        if x is None or x.dtype is None or x.dtype is not node.output.dtype:
            return NoMatch("the element types differ")
        how, back = parameters_of(pair, stored.dtype), parameters_of(node, stored.dtype)
        if how is None or back is None or how.axis is not None or back.axis is not None:
            return NoMatch("there are several scales, or they are not constant")
        if how.dtype is not back.dtype or not how.zero_point.equals(back.zero_point):
            return NoMatch("the zero points differ")
        low, high = represented(how)
        cut = x if (low < 0.0 < high) or (low == 0.0 and is_never_negative(x)) else _clip(x, low, high, rw)
        if how.scale.equals(back.scale):
            return cut
        factor = back.scale.numpy().astype(np.float64) / how.scale.numpy().astype(np.float64)
        return rw.new("Mul", cut, factor.astype(x.dtype.numpy))


def _clip(x: Value, low: float, high: float, rw: Rewriter) -> Value:
    if (rw.graph.opset() or 0) < _CLIP_WITH_INPUTS:
        return rw.new("Clip", x, min=low, max=high)
    dtype = np.float32 if x.dtype is None else x.dtype.numpy
    return rw.new("Clip", x, np.array(low).astype(dtype), np.array(high).astype(dtype))


def is_never_negative(value: Value, depth: int = 8) -> bool:
    """Whether a value is known to have no negative numbers, by the operators that give it."""
    node = value.producer
    constant = constant_of(value)
    if constant is not None:
        return bool((np.asarray(constant.numpy(), np.float32) >= 0).all())
    if node is None or not depth:
        return False
    if node.op in _NEVER_NEGATIVE:
        return True
    bounds = clip_bounds(node)
    if bounds is not None and bounds[0] >= 0:
        return True
    if node.op in DEQUANTIZE:
        how = parameters_of(node, None)
        return how is not None and how.axis is None and represented(how)[0] >= 0
    if node.op in _KEEPS_SIGN or node.op in MOVING:
        read = [node.input_at(at) for at in data_inputs(node)]
        return all(item is not None and is_never_negative(item, depth - 1) for item in read)
    return False


class DecodeConstant(RewritePattern):
    """DequantizeLinear of a constant -> the constant that it stands for."""

    name: ClassVar[str] = "decode-constant"
    roots: ClassVar[tuple[str, ...]] = DEQUANTIZE
    numerics: ClassVar[Numerics] = Exact()
    reach: ClassVar[int] = 1

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Apply where all inputs are constant."""
        stored = stored_by(node.output)
        floats = None if stored is None else stored.floats()
        dtype = node.output.dtype
        if floats is None or dtype is None:
            return NoMatch("it is not constant")
        return rw.constant(floats.astype(dtype.numpy))


class DequantizeEarlier(RewritePattern):
    """DequantizeLinear(Reshape(q)) -> Reshape(DequantizeLinear(q)), for all operators that only move numbers."""

    name: ClassVar[str] = "dequantize-earlier"
    roots: ClassVar[tuple[str, ...]] = DEQUANTIZE
    numerics: ClassVar[Numerics] = Exact()

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Apply where there is one scale for all."""
        moved = node.inputs[0]
        mover = None if moved is None else moved.producer
        if mover is None or mover.op not in MOVING or len(mover.outputs) > 1 or mover.graph is not node.graph:
            return NoMatch("what is dequantized is not moved")
        stored = stored_by(node.output)
        if stored is None or not stored.per_tensor or stored.how.block:
            return NoMatch("there are several scales, or they are not constant")
        inputs: list[Value | None] = list(mover.inputs)
        attributes: dict[str, object] = dict(node.attributes)
        for at in data_inputs(mover):
            if inputs[at] is not None:
                inputs[at] = rw.new_node(node.op, [inputs[at], *node.inputs[1:]], attributes=attributes).output
        return rw.new_node(mover.op, inputs, attributes=dict(mover.attributes)).output
