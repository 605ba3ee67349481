"""N:M sparsity: of each M neighbours along the channels that a layer sums over, at most N are not zero."""

from __future__ import annotations

import numpy as np

from graphopt.ir import Array, Node

__all__ = ["follows_n_m", "summed_axis"]


def follows_n_m(weights: Array, axis: int, n: int = 2, m: int = 4) -> bool:
    """Whether of each ``m`` neighbours along an axis at most ``n`` are not zero.

    Example:
        >>> follows_n_m(np.array([[1.0, 0.0, 2.0, 0.0]]), 1), follows_n_m(np.array([[1.0, 1.0, 2.0, 0.0]]), 1)
        (True, False)
    """
    moved = np.moveaxis(weights != 0, axis, -1)
    padded = np.concatenate([moved, np.zeros((*moved.shape[:-1], -moved.shape[-1] % m), np.bool_)], axis=-1)
    return bool((padded.reshape(*moved.shape[:-1], -1, m).sum(axis=-1) <= n).all())


def summed_axis(node: Node, rank: int | None = None) -> int | None:
    """The axis of a layer's weights (its second input) over which it sums, ``None`` for other nodes.

    Args:
        node: it.
        rank: of the weights, where they are no constant but come from one.
    """
    weight = node.input_at(1)
    if rank is None:
        rank = None if weight is None or weight.const is None else weight.const.ndim
    if node.op in ("Conv", "com.microsoft::FusedConv", "graphopt::ConvActivation"):
        return 1 if rank is not None and rank > 2 else None
    if node.op in ("Gemm", "com.microsoft::FusedGemm") and rank == 2:
        return 1 if node.int_attr("transB", 0) else 0
    if node.op in ("MatMul", "com.microsoft::FusedMatMul") and rank is not None and rank >= 2:
        return rank - 1 if node.int_attr("transB", 0) else rank - 2
    return None
