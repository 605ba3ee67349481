"""Resolves Where nodes whose condition holds for each element although no constant says so.

``Where(Expand(Range(0, n) >= 0, t), a, b) -> Expand(a, t)`` for single numbers: where there is no mask, torch.export asks of each position
whether it is one. Exact.
"""

from __future__ import annotations

from typing import ClassVar, Final

from graphopt.ir import Node, Value, integer_of
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.known_shapes import shape_values

__all__ = ["RULES"]

_MOVES: Final = frozenset({"Expand", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_FARTHEST: Final = 6


def _behind_moves(value: Value | None) -> Node | None:
    """What makes the elements that a value has, each at least once."""
    for _ in range(_FARTHEST):
        node = None if value is None else value.producer
        if node is None or node.domain or node.has_references or node.op not in _MOVES:
            return node
        value = node.inputs[0]
    return None


def _always_holds(value: Value) -> bool:
    """Whether a condition compares numbers that are counted up from a number with one that is no larger."""
    compared = _behind_moves(value)
    if compared is None or compared.op not in ("GreaterOrEqual", "Greater") or compared.has_references:
        return False
    counted, least = _behind_moves(compared.inputs[0]), integer_of(compared.inputs[1])
    if counted is None or counted.op != "Range" or counted.has_references or least is None:
        return False
    start, delta = integer_of(counted.inputs[0]), integer_of(counted.inputs[2])
    if start is None or delta is None or delta <= 0 or counted.output.dtype is None or counted.output.dtype.is_float:
        return False
    return start >= least if compared.op == "GreaterOrEqual" else start > least


def _is_number(value: Value) -> bool:
    return value.shape is not None and all(size == 1 for size in value.shape)


class ResolveTrueWhere(RewritePattern):
    """Where(c, a, b) -> Expand(a, shape of c), where c holds for each element and is expanded, and a and b are numbers."""

    name: ClassVar[str] = "resolve-true-where"
    roots: ClassVar[tuple[str, ...]] = ("Where",)
    reach: ClassVar[int] = 8
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Where(
            op.Expand(op.GreaterOrEqual(op.Range(const("zero"), any_("n"), const("one")), const("zero")), any_("t")),
            const("a"),
            const("b"),
        ),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """The condition must have the shape that it is expanded to."""
        condition, yes, no = node.inputs
        expand = None if condition is None else condition.producer
        if condition is None or yes is None or no is None or expand is None or expand.op != "Expand":
            return NoMatch("the condition is not expanded")
        if condition.shape is None or not all(
            _is_number(value) and len(value.shape or ()) <= len(condition.shape) for value in (yes, no)
        ):
            return NoMatch("%s or %s is no single number", yes.type, no.type)
        target = expand.inputs[1]
        sizes = None if target is None else shape_values(rw).of(target)
        if sizes is None or sizes.elements != shape_values(rw).shape_of(condition):
            return NoMatch("the condition is %s, expanded to what is not known to be that", condition.type)
        if not _always_holds(condition):
            return NoMatch("the condition may not hold")
        return rw.new("Expand", yes, target)


RULES = (ResolveTrueWhere(),)
