"""Attention that stays spelt out loses what does nothing: masks that are 0 throughout, and guards against NaN that can not be.

``Softmax(scores + mask) -> Softmax(scores)`` where each number of the mask is 0 and the sum has the shape of the scores, exact;
``Where(IsNaN(p), 0, p) @ V -> p @ V`` where ``p`` is the softmax of attention in float32 whose masks are finite: a row of scores could be
-inf throughout, or NaN, only for factors that are not finite, or overflow.
"""

from __future__ import annotations

from typing import ClassVar

from graphopt.ir import DType, Node
from graphopt.numerics import Exact, Numerics, Reassociates
from graphopt.rewriting import IN_PLACE, NoMatch, Replacement, RewritePattern, Rewriter
from graphopt.transforms.broadcasting import same_shape
from graphopt.transforms.fusion.attention.core import find_core
from graphopt.transforms.fusion.attention.levels import is_nothing
from graphopt.transforms.fusion.attention.plan import is_finite

__all__ = ["DropMaskOfNothing", "DropSoftmaxGuard"]


class DropMaskOfNothing(RewritePattern):
    """Softmax(Add(scores, 0)) -> Softmax(scores)."""

    name: ClassVar[str] = "drop-mask-of-nothing"
    roots: ClassVar[tuple[str, ...]] = ("Softmax",)
    numerics: ClassVar[Numerics] = Exact()
    reach: ClassVar[int] = 4

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """The mask may be chosen by a truth value that is always the same."""
        total = node.inputs[0]
        add = None if total is None else total.producer
        if total is None or add is None or add.op != "Add" or add.has_references:
            return NoMatch("the operand is no sum")
        for scores, mask in (add.inputs, add.inputs[::-1]):
            if scores is None or mask is None or not same_shape(scores.shape, total.shape) or not is_nothing(mask):
                continue
            rw.matched = [node, add]
            rw.set_input(node, 0, scores)
            return IN_PLACE
        return NoMatch("no term is 0 throughout")


class DropSoftmaxGuard(RewritePattern):
    """MatMul(Where(IsNaN(Softmax(...)), 0, Softmax(...)), v) -> MatMul(Softmax(...), v)."""

    name: ClassVar[str] = "drop-softmax-guard"
    roots: ClassVar[tuple[str, ...]] = ("MatMul",)
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 8

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """The guard stands right before the product."""
        weights = node.inputs[0]
        guard = None if weights is None else weights.producer
        if guard is None or guard.op != "Where" or len(guard.inputs) != 3:
            return NoMatch("no guard before the product")
        core = find_core(node)
        if isinstance(core, NoMatch):
            return core
        if not core.guarded or guard.inputs[2] is not core.softmax.output or core.query.dtype is not DType.FLOAT:
            return NoMatch("the guard does not stand right behind a softmax in float32")
        if not is_finite(core):
            return NoMatch("masks may be -inf, or add up to it")
        rw.matched = [node, *core.nodes]
        rw.set_input(node, 0, core.softmax.output)
        return IN_PLACE
