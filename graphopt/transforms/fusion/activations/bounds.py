"""Makes Relu and Clip of minima and maxima with numbers.

``Max(x, 0) -> Relu(x)``, ``Min(Max(x, a), b) -> Clip(x, a, b)`` and any chain of Min, Max, Relu and Clip with Min or Max last, as long as
bounds are in order, finite and no negative zero. Numerics: re-associates (what becomes of NaN differs). Source:
https://onnx.ai/onnx/operators/onnx__Clip.html
"""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np

from graphopt.ir import DType, Node, Value
from graphopt.rewriting import NoMatch, Pattern, any_, const, op
from graphopt.transforms.canonicalize.clips import Bounds, clip_bounds
from graphopt.transforms.expressions import producer, scalar
from graphopt.transforms.fusion.activations.unary_rule import Activation, RecognizeActivation

__all__ = ["FuseClip", "bounded"]

_BOUNDING: Final = ("Min", "Max", "Relu", "Clip")
_MOST: Final = 4
_X = any_("x")
_LOW = const("low", scalar=True, equal_to=0.0)
_HIGH = const("high", scalar=True, equal_to=6.0)


def bounded(node: Node | None) -> tuple[Value, Bounds] | None:
    """What a Min, Max, Relu or Clip bounds by numbers, and how."""
    if node is None or node.op not in _BOUNDING or not node.inputs:
        return None
    x = node.inputs[0]
    if node.op in ("Relu", "Clip"):
        found = Bounds(0.0, None) if node.op == "Relu" else clip_bounds(node)
        return None if x is None or isinstance(found, NoMatch) or not found.is_plain else (x, found)
    if len(node.inputs) != 2:
        return None
    y = node.inputs[1]
    number = scalar(y)
    if number is None:
        x, number = y, scalar(x)
    if x is None or number is None or x.is_constant:
        return None
    found = Bounds(number, None) if node.op == "Max" else Bounds(None, number)
    return (x, found) if found.is_plain else None


class FuseClip(RecognizeActivation):
    """Max(x, 0) -> Relu(x); Min(Max(x, a), b) -> Clip(x, a, b)."""

    name: ClassVar[str] = "fuse-clip"
    roots: ClassVar[tuple[str, ...]] = ("Min", "Max")
    reach: ClassVar[int] = 3
    min_opset: ClassVar[int] = 8
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Max(_X, _LOW),
        op.Min(op.Max(_X, _LOW), _HIGH),
        op.Min(op.Relu(_X), _HIGH),
        op.Max(op.Min(_X, _HIGH), _LOW),
    )

    def find(self, node: Node) -> Activation | NoMatch:
        """As far back as nobody else reads what is bounded."""
        found = bounded(node)
        if found is None:
            return NoMatch("no minimum or maximum with a number")
        (x, bounds), merged = found, False
        for _ in range(_MOST):
            inner = bounded(producer(x, *_BOUNDING)) if x.has_single_use else None
            if inner is None:
                break
            x, bounds, merged = inner[0], inner[1].then(bounds), True
        if bounds == Bounds(0.0, None):
            return Activation("Relu", x)
        if not merged:
            return NoMatch("one bound alone is what Min and Max are for")
        return self._clip(node, x, bounds)

    def _clip(self, node: Node, x: Value, bounds: Bounds) -> Activation | NoMatch:
        if (node.opset or 0) < 11:
            return Activation("Clip", x, {"min": bounds.low, "max": bounds.high})
        dtype = (x.dtype or DType.FLOAT).numpy
        operands = tuple(None if bound is None else np.array(bound, dtype) for bound in (bounds.low, bounds.high))
        return Activation("Clip", x, operands=operands)
