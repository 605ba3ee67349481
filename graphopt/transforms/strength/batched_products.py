"""Takes reshapes that only join batch axes away from products.

``MatMul(Reshape(a), Reshape(b)) -> Reshape(MatMul(a, b))`` where both join or split the axes before the last two in the same way;
``Reshape(MatMul(Reshape(a), w)) -> MatMul(a, w)`` for a matrix ``w`` where rows are joined before and taken apart again behind.
Numerics: re-associates (kernels may take other blocks).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graphopt.ir import Node, Shape, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op, rest
from graphopt.transforms.broadcasting import same_dim, same_shape
from graphopt.transforms.movement.alignment import is_reached, producer_of, reshaped_dims
from graphopt.transforms.reshape_targets import target_entries

__all__ = ["RULES"]

_SHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")


class JoinBatchesBehindProduct(RewritePattern):
    """MatMul(Reshape(a), Reshape(b)) -> Reshape(MatMul(a, b))."""

    name: ClassVar[str] = "join-batches-behind-product"
    roots: ClassVar[tuple[str, ...]] = ("MatMul",)
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.MatMul(
            op.Unsqueeze(any_("a"), const("axis", equal_to=0)), op.Unsqueeze(any_("b"), const("axis", equal_to=0))
        ),
        op.MatMul(op.Unsqueeze(any_("a"), axes=(0,)), op.Unsqueeze(any_("b"), axes=(0,))),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Both factors must be joined in the same way, all axes but the last two."""
        joins = [producer_of(value, _SHAPES, node) for value in node.inputs]
        if len(joins) != 2 or joins[0] is None or joins[1] is None or (node.opset or 0) < 5:
            return NoMatch("no factor was reshaped, or not both")
        a, b = joins[0].inputs[0], joins[1].inputs[0]
        left, right = reshaped_dims(joins[0]), reshaped_dims(joins[1])
        if a is None or b is None or a.shape is None or b.shape is None or left is None or right is None:
            return NoMatch("a shape is not known")
        if min(len(a.shape), len(b.shape), len(left), len(right)) < 2:
            return NoMatch("a factor is a vector")
        for whole, joined in ((a.shape, left), (b.shape, right)):
            if not same_shape(whole[-2:], joined[-2:]):
                return NoMatch("the last axes of %s change", whole)
        if not same_shape(a.shape[:-2], b.shape[:-2]) or len(left) != len(right):
            return NoMatch("batches %s and %s differ", a.shape[:-2], b.shape[:-2])
        batch = [x if x is not None else y for x, y in zip(left[:-2], right[:-2], strict=True)]
        if any(
            x is not None and y is not None and not same_dim(x, y) for x, y in zip(left[:-2], right[:-2], strict=True)
        ):
            return NoMatch("batches are joined in other ways")
        entries = target_entries((*batch, left[-2], right[-1]), (*a.shape[:-2], left[-2], right[-1]))
        if entries is None:
            return NoMatch("the joined shape can't be stated")
        return rw.new("Reshape", rw.new("MatMul", a, b), np.array(entries, np.int64))


class MergeReshapesAroundProduct(RewritePattern):
    """Reshape(MatMul(Reshape(a), w)) -> MatMul(a, w)."""

    name: ClassVar[str] = "merge-reshapes-around-product"
    roots: ClassVar[tuple[str, ...]] = _SHAPES
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 3
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Squeeze(
            op.MatMul(op.Unsqueeze(any_("a"), const("axis", equal_to=0)), const("w")), const("axis", equal_to=0)
        ),
        op.Squeeze(op.MatMul(op.Unsqueeze(any_("a"), axes=(0,)), const("w")), axes=(0,)),
        op.Reshape(op.MatMul(op.Reshape(any_("a"), rest("to")), const("w")), const("back")),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """The last axis must stay, and the shape behind must be what the product gives without reshapes."""
        product = producer_of(node.input_at(0), ("MatMul",), node)
        inner = None if product is None else product.inputs[0]
        join = None if inner is None else inner.producer
        if product is None or inner is None or join is None or join.op not in _SHAPES or join.has_references:
            return NoMatch("no product between two nodes that change shapes")
        a, w = join.inputs[0], product.inputs[1]
        joined, wanted = reshaped_dims(join), reshaped_dims(node)
        if a is None or w is None or a.shape is None or w.shape is None or joined is None or wanted is None:
            return NoMatch("a shape is not known")
        if len(w.shape) != 2 or min(len(a.shape), len(joined)) < 2 or not same_dim(a.shape[-1], joined[-1]):
            return NoMatch("the right factor is no matrix, or the last axis changes")
        shape: Shape = (*a.shape[:-1], w.shape[1])
        if not is_reached(shape, wanted):
            return NoMatch("%s is not %s again", node.output.type, shape)
        result: Value = rw.new("MatMul", a, w, name=product.name)
        return result


RULES = (JoinBatchesBehindProduct(), MergeReshapesAroundProduct())
