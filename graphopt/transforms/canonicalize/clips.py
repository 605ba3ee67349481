"""Merges Clip and Relu nodes that follow each other.

``Clip[c, d](Clip[a, b](x)) -> Clip[max(c, min(a, d)), max(c, min(b, d))](x)`` for constant ``a <= b`` and ``c <= d``, with Relu as
``Clip[0, ]``; nothing where the second does not narrow the first. An absent bound is the largest finite number, so bounds that are
infinite, NaN or a negative zero are left alone. Exact, NaN included. Source: https://onnx.ai/onnx/operators/onnx__Clip.html
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.ir import Array, DType, Node, Value
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, op, rest

__all__ = ["RULES", "Bounds", "clip_bounds"]

Number = int | float


@dataclass(frozen=True, slots=True)
class Bounds:
    """Constant bounds of a Clip, ``None`` for an absent one."""

    low: Number | None
    high: Number | None

    def then(self, after: Bounds) -> Bounds:
        """Bounds of one Clip that does what this one followed by ``after`` does."""
        return Bounds(
            after.low if self.low is None else after.clamp(self.low),
            after.high if self.high is None else after.clamp(self.high),
        )

    def clamp(self, number: Number) -> Number:
        """A number moved between the bounds."""
        if self.low is not None and number < self.low:
            return self.low
        return self.high if self.high is not None and number > self.high else number

    @property
    def is_plain(self) -> bool:
        """Whether the bounds are in order and finite, and none is a negative zero."""
        for bound in (self.low, self.high):
            if isinstance(bound, float) and (not math.isfinite(bound) or (bound == 0 and math.copysign(1, bound) < 0)):
                return False
        return self.low is None or self.high is None or self.low <= self.high


def clip_bounds(node: Node) -> Bounds | NoMatch:
    """Bounds of a Clip, as attributes or constant inputs."""
    opset = node.opset or 0
    found: list[Number | None] = []
    for position, name in ((1, "min"), (2, "max")):
        value = node.input_at(position)
        if opset < 11:
            stated = node.attributes.get(name)
            number = None if stated is None else stated.value
            found.append(number if isinstance(number, int | float) else None)
        elif value is None:
            found.append(None)
        else:
            array = value.array()
            if array is None or array.size != 1:
                return NoMatch("bound %r is not one constant number", value.name)
            found.append(array.reshape(-1)[0].item())
    return Bounds(*found)


def _read(node: Node) -> Bounds | NoMatch:
    bounds = Bounds(0, None) if node.op == "Relu" else clip_bounds(node)
    if isinstance(bounds, Bounds) and not bounds.is_plain:
        return NoMatch("bounds %s of %s are not in order, not finite or a negative zero", bounds, node.op)
    return bounds


class MergeClips(RewritePattern):
    """Clip(Clip(x)), Clip(Relu(x)), Relu(Clip(x)) -> Clip(x)."""

    name: ClassVar[str] = "merge-clips"
    roots: ClassVar[tuple[str, ...]] = ("Clip", "Relu")
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (op[roots](op[roots](any_("x"), rest("inner")), rest("outer")),)

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Bounds of both must be constant."""
        given = node.input_at(0)
        inner = None if given is None else given.producer
        if given is None or inner is None or inner.op not in self.roots or (inner.op == node.op == "Relu"):
            return NoMatch("the input is not from another Clip or Relu")
        if inner.has_references:
            return NoMatch("bounds of the inner one depend on the surrounding function")
        first, second = _read(inner), _read(node)
        if isinstance(first, NoMatch):
            return first
        if isinstance(second, NoMatch):
            return second
        both = first.then(second)
        if inner.op == "Clip" and both == first:
            return given
        if both.low == both.high == 0:
            return NoMatch("a negative zero would stay, which is moved away and back now")
        x = inner.inputs[0]
        dtype = given.dtype or (None if x is None else x.dtype)
        if x is None or dtype is None:
            return NoMatch("the element type is not known")
        if not given.has_single_use or inner.graph is not node.graph:
            return NoMatch("%r has other users", given.name)
        if (node.opset or 0) < 11:
            return rw.new("Clip", x, min=both.low, max=both.high)
        return rw.new("Clip", x, _scalar(both.low, dtype), _scalar(both.high, dtype))


def _scalar(number: Number | None, dtype: DType) -> Array | Value | None:
    return None if number is None else np.array(number, dtype.numpy)


RULES = (MergeClips(),)
