"""N:M sparsity: of each M neighbours along the input channels at most N are not zero, which tensor cores skip for 2:4.

The axis is the one that a layer sums over, input channels of a Conv and rows of a matrix: TensorRT takes no other. It looks for the pattern
in Conv and in Gemm, as ``fuse-matmul-add`` makes it of a product where the input is a matrix. Of equal weights the first are
kept; a rest of fewer than M neighbours keeps N of them. A weight that layers read along different axes stays as it is. Touches weights;
needs no types, no data; idempotent. Numerics: lossy. Source: Mishra et al., Accelerating Sparse Deep Neural Networks, 2021, section 3;
TensorRT developer guide, section Sparsity.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import msgspec
import numpy as np
import numpy.typing as npt

from graphopt.analysis.n_m_sparsity import follows_n_m, summed_axis
from graphopt.errors import PipelineError
from graphopt.ir import Array, Constant, Graph, Node, Value
from graphopt.numerics import Lossy, Numerics
from graphopt.passes import Pass, PassContext, PassResult
from graphopt.transforms.pruning.magnitude import prunable_weights
from graphopt.transforms.pruning.masking import zero_weights
from graphopt.transforms.pruning.selection import Selection

__all__ = ["PruneNM", "follows_n_m", "n_m_layers", "n_m_mask", "summed_axis"]


def n_m_mask(weights: Array, axis: int, n: int, m: int) -> npt.NDArray[np.bool_]:
    """Which weights are kept: of each ``m`` neighbours along an axis the ``n`` of largest magnitude.

    Args:
        weights: real floats, any shape.
        axis: along which neighbours are counted.
        n: kept of each ``m``.
        m: neighbours.

    Returns:
        bool, the shape of ``weights``.

    Example:
        >>> n_m_mask(np.array([[1.0, -3.0, 2.0, 2.0, 5.0, 0.0]]), 1, 2, 4).astype(int)
        array([[0, 1, 1, 0, 1, 1]])
    """
    moved = np.moveaxis(np.abs(weights.astype(np.float64)), axis, -1)
    size = moved.shape[-1]
    short = -size % m
    rows = np.concatenate([moved, np.full((*moved.shape[:-1], short), -1.0)], axis=-1).reshape(-1, m)
    order = np.argsort(-rows, axis=1, kind="stable")
    kept = np.zeros(rows.shape, np.bool_)
    np.put_along_axis(kept, order[:, :n], values=True, axis=1)
    found = kept.reshape(*moved.shape[:-1], size + short)[..., :size]
    return np.moveaxis(found, -1, axis)


def n_m_layers(graph: Graph, n: int = 2, m: int = 4) -> Iterator[tuple[Node, bool]]:
    """The layers that sum over ``m`` or more input channels with constant weights, and whether these follow the pattern."""
    weights = dict(prunable_weights(graph))
    for node in graph.walk():
        axis = summed_axis(node)
        value = None if axis is None else node.input_at(1)
        if value in weights and axis is not None and weights[value].shape[axis] >= m:
            yield node, follows_n_m(weights[value].numpy(), axis, n, m)


@dataclass(frozen=True)
class PruneNM(Pass):
    """Zero all but N of each M neighbours along the input channels.

    Attributes:
        n: kept of each ``m``; 2 of 4 is what TensorRT accelerates.
        m: neighbours.
        include: only these layers: names, patterns of ``*``, or ``op:Conv``; all if empty.
        exclude: never these.
    """

    name: ClassVar[str] = "prune-n-m"
    idempotent: ClassVar[bool] = True
    keeps_types: ClassVar[bool] = True
    numerics: ClassVar[Numerics] = Lossy()
    needs_types: ClassVar[bool] = False
    n: Annotated[int, msgspec.Meta(ge=1)] = 2
    m: Annotated[int, msgspec.Meta(ge=2)] = 4
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.n < self.m:
            raise PipelineError(f"prune-n-m: n is {self.n} and m is {self.m}, expected 1 <= n < m")

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Prune the weights of each layer that sums over at least ``m`` channels."""
        weights = list(self._weights(graph))
        Selection(self.include).check(self.name, graph, found=bool(weights))
        masks = {value: n_m_mask(constant.numpy(), axis, self.n, self.m) for value, constant, axis in weights}
        changed = zero_weights(self, graph, ctx, masks)
        return PassResult(bool(changed), {"zeroed": sum(changed.values()), "tensors": len(changed)})

    def _weights(self, graph: Graph) -> Iterator[tuple[Value, Constant, int]]:
        """Weights with the one axis along which all layers that read them sum."""
        selection = Selection(self.include, self.exclude)
        for value, constant in prunable_weights(graph):
            uses = list(value.uses)
            axes = {summed_axis(node) if position == 1 else None for node, position in uses}
            axis = axes.pop() if len(axes) == 1 else None
            if (
                axis is not None
                and constant.shape[axis] >= self.m
                and selection.admits(value, [use.node for use in uses])
            ):
                yield value, constant, axis
