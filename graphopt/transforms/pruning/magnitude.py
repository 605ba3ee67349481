"""Zeroes the weights of smallest magnitude, tensor by tensor.

In each float constant of rank 2 or more the ``int(sparsity * size)`` elements of smallest ``|w|`` become zero; of equal ones those that
come first. A NaN counts as the largest. Touches weights; needs no types, no data; idempotent. Numerics: lossy. Source: Han et al.,
Learning both Weights and Connections for Efficient Neural Networks, 2015, section 3.1 (without the retraining).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import msgspec
import numpy as np
import numpy.typing as npt

from graphopt.errors import PipelineError
from graphopt.ir import Array, Constant, DType, Graph, Value
from graphopt.numerics import Lossy, Numerics
from graphopt.passes import Pass, PassContext, PassResult

__all__ = ["PruneMagnitude", "smallest_magnitudes"]

_FLOATS = frozenset({DType.FLOAT16, DType.BFLOAT16, DType.FLOAT, DType.DOUBLE})


def smallest_magnitudes(weights: Array, count: int) -> npt.NDArray[np.bool_]:
    """Where the ``count`` elements of smallest magnitude are.

    Args:
        weights: real floats, any shape.
        count: in [0, size].

    Returns:
        bool, the shape of ``weights``, true in exactly ``count`` places: what a stable sort by magnitude puts first.

    Example:
        >>> smallest_magnitudes(np.array([2.0, -1.0, 1.0, 1.0]), 2)
        array([False,  True,  True, False])
    """
    if count <= 0:
        return np.zeros(weights.shape, np.bool_)
    wide = weights.astype(np.float64 if weights.dtype == np.float64 else np.float32, copy=False)
    sizes = np.abs(wide).reshape(-1)
    limit = np.partition(sizes, count - 1)[count - 1]  # NaN stands last
    chosen = ~np.isnan(sizes) if np.isnan(limit) else sizes < limit
    ties = np.isnan(sizes) if np.isnan(limit) else sizes == limit
    chosen[np.flatnonzero(ties)[: count - int(np.count_nonzero(chosen))]] = True
    found: npt.NDArray[np.bool_] = chosen.reshape(weights.shape)
    return found


@dataclass(frozen=True)
class PruneMagnitude(Pass):
    """Zero the smallest weights of every float constant of rank 2 or more.

    Attributes:
        sparsity: fraction of elements zeroed in each tensor, in [0, 1).
    """

    name: ClassVar[str] = "prune-magnitude"
    idempotent: ClassVar[bool] = True
    keeps_types: ClassVar[bool] = True
    numerics: ClassVar[Numerics] = Lossy()
    needs_types: ClassVar[bool] = False
    sparsity: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.sparsity < 1:
            raise PipelineError(f"prune-magnitude: sparsity is {self.sparsity}, expected a number in [0, 1)")

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Prune the constants of a graph and its subgraphs, each once."""
        zeroed = tensors = 0
        for value, constant in _weights(graph):
            weights = constant.numpy()
            change = smallest_magnitudes(weights, int(self.sparsity * constant.size)) & (weights != 0)
            count = int(np.count_nonzero(change))
            if not count or not ctx.applications.admits(self.name, value.name):
                continue
            pruned = weights.copy()
            pruned[change] = 0
            value.const = Constant(pruned)
            ctx.applications.record(self.name, value.name)
            zeroed, tensors = zeroed + count, tensors + 1
        if tensors:
            graph.touch()
        return PassResult(changed=tensors > 0, stats={"zeroed": zeroed, "tensors": tensors})


def _weights(graph: Graph) -> Iterator[tuple[Value, Constant]]:
    """Initializers to prune; those that callers may override are left to them."""
    for inner in list(graph.walk_graphs()):
        for value in inner.initializers():
            constant = value.const
            if constant is None or not value.is_constant or constant.is_sparse:
                continue
            if constant.ndim >= 2 and constant.dtype in _FLOATS and constant.size:
                yield value, constant
