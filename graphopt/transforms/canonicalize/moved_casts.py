"""Lets casts meet that have only data movement between them.

``Cast[C](Transpose(Cast[B](x: A))) -> Transpose(Cast[C](x))``, and ``Transpose(x)`` where C is A, if B holds every number of A: for any
chain of operators that move elements and change none. Exact. Source: https://onnx.ai/onnx/operators/onnx__Cast.html
"""

from __future__ import annotations

from typing import ClassVar

from graphopt.ir import Node, Value
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.canonicalize.casts import is_one_cast
from graphopt.transforms.movement.alignment import producer_of

__all__ = ["RULES"]

#: Move the elements of their first input, whatever type they are of.
_MOVES = ("Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Tile", "Transpose", "Unsqueeze")
_MOST_STEPS = 6


class MergeCastsAcrossMoves(RewritePattern):
    """Cast[A](Transpose(Cast[B](x: A))) -> Transpose(x)."""

    name: ClassVar[str] = "merge-casts-across-moves"
    roots: ClassVar[tuple[str, ...]] = ("Cast",)
    reach: ClassVar[int] = 3
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Cast(op.Transpose(op.Cast(any_("x"), to=1))),
        op.Cast(op.Unsqueeze(op.Cast(any_("x"), to=1), const("axes", equal_to=0))),
        op.Cast(op.Unsqueeze(op.Cast(any_("x"), to=11), axes=(0,))),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Nobody else may read what is between both."""
        value, moves = node.inputs[0], list[Node]()
        while (step := producer_of(value, ("Cast", *_MOVES), node)) is not None and step.op != "Cast":
            moves.insert(0, step)
            value = step.inputs[0]
            if len(moves) > _MOST_STEPS:
                break
        if step is None or step.op != "Cast" or not moves:
            return NoMatch("no cast is before it, behind moves that nobody else reads")
        x = step.inputs[0]
        target = is_one_cast(x, step, node)
        if x is None or isinstance(target, NoMatch):
            return target if isinstance(target, NoMatch) else NoMatch("an input is absent")
        current: Value = x if x.dtype == target else rw.new_node("Cast", [x], attributes=dict(node.attributes)).output
        for move in moves:
            current = rw.new_node(
                move.op, [current, *move.inputs[1:]], attributes=dict(move.attributes), name=move.name
            ).output
        rw.matched = [node, step, *moves]
        return current


RULES = (MergeCastsAcrossMoves(),)
