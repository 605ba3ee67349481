"""Heads of keys and values that were repeated, each in place, so that every head of the queries has its own.

``Reshape(Expand(Unsqueeze(x)))`` that makes ``[B, N*r, L, H]`` of ``[B, N, L, H]`` is written as ``Gather(x, [0, 0, ..., 1, 1, ...])``, one
node for three that copies as much. Numerics: exact.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graphopt.ir import Node, Value
from graphopt.numerics import Exact, Numerics
from graphopt.rewriting import NoMatch, Replacement, RewritePattern, Rewriter
from graphopt.transforms.broadcasting import same_dim
from graphopt.transforms.fusion.attention.layouts import is_reshape

__all__ = ["GatherRepeatedHeads", "repeated"]


def repeated(value: Value) -> Value | None:
    """What heads were repeated of, ``[B, N, L, H]``, where ``value`` is ``[B, N*r, L, H]``; ``None`` if they were not.

    Where it is made by a Reshape, the result may be said to have another length than ``L`` for a batch of 0; attention on it is as empty.

    Args:
        value: keys or values as they enter attention.
    """
    node = value.producer
    if node is None or not node.inputs or node.inputs[0] is None or node.has_references:
        return None
    return _gathered(node) if node.op == "Gather" else _expanded(node, value) if is_reshape(node) else None


def _gathered(node: Node) -> Value | None:
    """The operand of a Gather of each head, so many times in a row."""
    source, index = node.inputs[0], node.inputs[1]
    numbers = None if index is None else index.array()
    if source is None or source.rank != 4 or source.shape is None or node.int_attr("axis", 0) not in (1, -3):
        return None
    heads = source.shape[1]
    if numbers is None or numbers.ndim != 1 or not isinstance(heads, int) or heads < 1 or numbers.size % heads:
        return None
    return source if np.array_equal(numbers, np.repeat(np.arange(heads), numbers.size // heads)) else None


def _expanded(reshape: Node, value: Value) -> Value | None:
    """The operand of Unsqueeze, Expand and Reshape."""
    expand = None if reshape.inputs[0] is None else reshape.inputs[0].producer
    if expand is None or expand.op != "Expand" or expand.inputs[0] is None:
        return None
    unsqueeze = expand.inputs[0].producer
    source = None if unsqueeze is None or not is_reshape(unsqueeze) else unsqueeze.inputs[0]
    if source is None or source.rank != 4 or expand.output.rank != 5 or value.rank != 4:
        return None
    before, apart, wide, after = source.shape, expand.inputs[0].shape, expand.output.shape, value.shape
    if before is None or apart is None or wide is None or after is None or len(apart) != 5:
        return None
    heads, repeats = before[1], wide[2]
    if not isinstance(heads, int) or not isinstance(repeats, int) or after[1] != heads * repeats:
        return None
    kept = all(map(same_dim, (before[0], before[1], 1, before[2], before[3]), apart))
    grown = all(map(same_dim, (before[0], before[1], before[2], before[3]), (wide[0], wide[1], wide[3], wide[4])))
    whole = all(map(same_dim, (before[0], before[3]), (after[0], after[3])))
    certain = same_dim(before[2], after[2]) or not isinstance(
        after[2], int
    )  # the count of numbers says it, if there are any
    return source if kept and grown and whole and certain else None


class GatherRepeatedHeads(RewritePattern):
    """Reshape(Expand(Unsqueeze(x))) -> Gather(x, [0, 0, ..., 1, 1, ...])."""

    name: ClassVar[str] = "gather-repeated-heads"
    roots: ClassVar[tuple[str, ...]] = ("Reshape",)
    numerics: ClassVar[Numerics] = Exact()
    reach: ClassVar[int] = 3

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Heads are the second of four axes; what lies between has no other reader."""
        source = repeated(node.output)
        wide = node.inputs[0]
        if source is None or source.shape is None or wide is None or node.output.shape is None:
            return NoMatch("it repeats no heads")
        expand = wide.producer
        if expand is None or not wide.has_single_use or expand.inputs[0] is None or expand.inputs[0].producer is None:
            return NoMatch("the repeated heads have other readers")
        heads, every = source.shape[1], node.output.shape[1]
        if not isinstance(heads, int) or not isinstance(every, int) or not heads:
            return NoMatch("the number of heads is not known")
        rw.matched = [node, expand, expand.inputs[0].producer]
        index = np.repeat(np.arange(heads, dtype=np.int64), every // heads)
        return rw.new("Gather", source, index, axis=1, name=node.name)
