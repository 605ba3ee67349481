"""Heads of keys and values that were repeated, each in place, so that every head of the queries has its own."""

from __future__ import annotations

from graphopt.ir import Value
from graphopt.transforms.broadcasting import same_dim
from graphopt.transforms.fusion.attention.layouts import is_reshape

__all__ = ["repeated"]


def repeated(value: Value) -> Value | None:
    """What heads were repeated of, ``[B, N, L, H]``, where ``Reshape(Expand(Unsqueeze(it)))`` gives ``[B, N*r, L, H]``; else ``None``.

    For a batch of 0 the result may be said to have another length than ``L``; attention on it is as empty then.

    Args:
        value: keys or values as they enter attention.
    """
    reshape = value.producer
    expand = (
        None if reshape is None or not is_reshape(reshape) or reshape.inputs[0] is None else reshape.inputs[0].producer
    )
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
