"""Layers whose weights tensor cores may skip half of: at most 2 of 4 neighbours along the input channels are not zero.

The weights are constants, or integers behind a DequantizeLinear.
"""

from __future__ import annotations

import numpy as np

from graphopt.analysis.n_m_sparsity import follows_n_m, summed_axis
from graphopt.ir import Constant, Graph, Node

__all__ = ["sparse_layers"]

_N, _M = 2, 4
_SAMPLE = 64


def sparse_layers(graph: Graph) -> list[Node]:
    """The layers with weights of which at most 2 of 4 are not zero, in order.

    Most weights are not: a few rows of each are looked at first, and most are never read as a whole.
    """
    return [node for node in graph.walk() if _is_sparse(node)]


def _is_sparse(node: Node) -> bool:
    const = _weights(node)
    axis = None if const is None else summed_axis(node, const.ndim)
    if const is None or axis is None or const.shape[axis] < _M or not const.size:
        return False
    array = np.moveaxis(const.numpy(), axis, -1)
    rows = array.reshape(-1, array.shape[-1])[:_SAMPLE] if array.flags.c_contiguous else array[(0,) * (array.ndim - 2)]
    return follows_n_m(rows[:_SAMPLE], -1, _N, _M) and follows_n_m(array, -1, _N, _M)


def _weights(node: Node) -> Constant | None:
    """The constant that the second input of a node is, or is dequantized from."""
    value = node.input_at(1)
    while value is not None and value.const is None and value.producer is not None:
        if value.producer.op != "DequantizeLinear":
            return None
        value = value.producer.input_at(0)
    return None if value is None or not value.is_constant else value.const
