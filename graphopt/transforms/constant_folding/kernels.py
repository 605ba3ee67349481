"""One entrance to all numpy kernels."""

from __future__ import annotations

import logging

from graphopt.ir import Node
from graphopt.transforms.constant_folding.float_kernels import FLOAT_KERNELS
from graphopt.transforms.constant_folding.integer_kernels import INTEGER_KERNELS
from graphopt.transforms.constant_folding.movement_kernels import MOVEMENT_KERNELS, Inputs, Kernel, Results

__all__ = ["KERNELS", "run_kernel"]

logger = logging.getLogger(__name__)

KERNELS: dict[str, Kernel] = MOVEMENT_KERNELS | INTEGER_KERNELS


def run_kernel(node: Node, inputs: Inputs, limit: int, *, floats: bool = False) -> Results:
    """Outputs of a node, ``None`` when no kernel is sure of them.

    Args:
        node: the node; attributes are read from it.
        inputs: its inputs, ``None`` for absent ones.
        limit: largest number of elements of an output.
        floats: whether arithmetic of floats may be computed too.

    Numerics:
        exact.
    """
    is_float = (
        floats and node.op in FLOAT_KERNELS and any(item is not None and item.dtype.kind == "f" for item in inputs)
    )
    kernel = FLOAT_KERNELS[node.op] if is_float else KERNELS.get(node.op)
    if kernel is None:
        return None
    try:
        found = kernel(node, inputs, limit)
    except (ValueError, IndexError, KeyError, OverflowError) as err:  # numpy on shapes that don't fit
        logger.debug("%r (%s) is left alone: %s", node.name, node.op, err)
        return None
    return found if found is not None and len(found) >= len(node.outputs) else None
