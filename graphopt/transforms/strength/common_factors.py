"""Collects factors of one tensor, and looks up what a product with a one-hot tensor picks.

``x * a + x * b -> x * (a + b)``, and ``x * a + x``, for constants of one sign (of other signs, infinities would differ), which all have
one shape or are single numbers; ``MatMul(OneHot(i), w) -> Gather(w, i)`` for a constant finite ``w`` and places that are certainly in it.
Numerics: re-associates.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graphopt.ir import DType, Node, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import (
    Match,
    NoMatch,
    Pattern,
    Replacement,
    RewritePattern,
    Rewriter,
    any_,
    const,
    op,
    rewrite,
)
from graphopt.transforms.broadcasting import keeps_shape
from graphopt.transforms.fusion.linear import Float64, round_to
from graphopt.transforms.movement.alignment import producer_of
from graphopt.transforms.operands import constant_ints

__all__ = ["RULES"]

_FLOATS = frozenset({DType.FLOAT, DType.DOUBLE, DType.FLOAT16, DType.BFLOAT16})
_LIMIT = 1e4
_SMALL_BYTES = 1 << 14


class CollectFactors(RewritePattern):
    """Add(Mul(x, a), Mul(x, b)) -> Mul(x, a + b), Add(Mul(x, a), x) -> Mul(x, a + 1)."""

    name: ClassVar[str] = "collect-factors"
    roots: ClassVar[tuple[str, ...]] = ("Add",)
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Add(op.Mul(any_("x"), const("a", scalar=True)), op.Mul(any_("x"), const("b", scalar=True))),
        op.Add(op.Mul(any_("x"), const("a", scalar=True)), any_("x"), commute=True),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Read both terms."""
        left, right = (_term(value, node) for value in node.inputs)
        if (node.opset or 0) < 7 or node.output.dtype not in _FLOATS:
            return NoMatch("not of floats")
        for one, other in ((left, right), (right, left)):
            x, factor = one
            if factor is None or x is None:
                continue
            second = other[1] if other[0] is x else None
            if other[0] is not x and node.inputs[0 if other is left else 1] is not x:
                continue
            total = self._sum(factor, second)
            rounded = total if isinstance(total, NoMatch) else round_to(total, node.output.dtype)
            if isinstance(rounded, NoMatch):
                return rounded
            if not keeps_shape(x.shape, rounded.shape):
                return NoMatch("%s may grow to the shape of the factor", x.type)
            return rw.new("Mul", x, rounded)
        return NoMatch("no two factors of one tensor")

    @staticmethod
    def _sum(a: Float64, b: Float64 | None) -> Float64 | NoMatch:
        b = np.ones(()) if b is None else b
        if a.shape != b.shape and min(a.size, b.size) > 1:
            return NoMatch("factors have shapes %s and %s", a.shape, b.shape)
        sizes = np.abs(np.concatenate([a.reshape(-1), b.reshape(-1)]))
        if not ((sizes >= 1 / _LIMIT) & (sizes <= _LIMIT)).all():
            return NoMatch("a factor is zero, extreme or not finite")
        return a + b if (np.sign(a) == np.sign(b)).all() else NoMatch("factors have other signs")


def _term(value: Value | None, reader: Node) -> tuple[Value | None, Float64 | None]:
    """The tensor and the constant factor of a product that ``reader`` alone reads, else the value itself."""
    product = producer_of(value, ("Mul",), reader)
    for position in (1, 0) if product is not None else ():
        assert product is not None, "there is no position otherwise"
        factor, x = product.inputs[position], product.inputs[1 - position]
        if (
            factor is not None
            and x is not None
            and factor.is_constant
            and factor.const is not None
            and not x.is_constant
        ):
            if factor.const.nbytes > _SMALL_BYTES or factor.const.dtype not in _FLOATS:
                break
            return x, factor.const.numpy().astype(np.float64)
    return value, None


@rewrite(
    op.MatMul(op.OneHot(any_("places"), const("depth"), const("values"), axis=-1), const("w")),
    numerics=Reassociates(1e-6),
    min_opset=11,
)
def look_up_one_hot(m: Match, rw: Rewriter) -> Replacement:
    """MatMul(OneHot(i), w) -> Gather(w, i)."""
    places, w, values = m["places"], m["w"].const, m.array("values")
    depth = (
        constant_ints(m["depth"])
        if m["depth"].dtype is not None and m["depth"].dtype.is_integer
        else NoMatch("no size")
    )
    if isinstance(depth, NoMatch) or w is None or len(w.shape) != 2 or depth != (w.shape[0],):
        return NoMatch("the weights are no matrix of as many rows as there are places")
    if values.tolist() != [0, 1] or w.dtype not in _FLOATS or places.dtype not in (DType.INT64, DType.INT32):
        return NoMatch("the values are not 0 and 1, or types do not fit")
    if not _is_inside(places, depth[0]) or not np.isfinite(w.numpy().astype(np.float64)).all():
        return NoMatch("a place may be outside, or a weight is not finite")
    return rw.new("Gather", m["w"], places, axis=0)


def _is_inside(places: Value, depth: int) -> bool:
    """Whether places are certainly among so many."""
    numbers = constant_ints(places)
    if isinstance(numbers, tuple):
        return all(-depth <= number < depth for number in numbers)
    node = places.producer
    if node is None or node.op not in ("ArgMax", "ArgMin") or node.has_references:
        return False
    x = node.inputs[0]
    axis = node.int_attr("axis", 0)
    if x is None or x.shape is None or not -len(x.shape) <= axis < len(x.shape):
        return False
    size = x.shape[axis]
    return isinstance(size, int) and 0 < size <= depth


RULES = (CollectFactors(), look_up_one_hot)
