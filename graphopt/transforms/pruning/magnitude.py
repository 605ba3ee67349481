"""Zeroes the weights of smallest magnitude: of each tensor, of all layers of a kind together, or of the whole model.

Of the float constants of rank 2 or more the ``int(sparsity * size)`` elements of smallest ``|w|`` become zero, where ``size`` counts a
tensor or all tensors of the scope; of equal ones those that come first, by tensor and then by index. A NaN counts as the largest. Constants
with fewer than two axes longer than 1 (biases, scales) and small ones stay as they are; a constant that several layers read is counted
once. Touches weights; needs no types, data only between steps; idempotent. Numerics: lossy.

Source: Han et al., Learning both Weights and Connections for Efficient Neural Networks, 2015, section 3.1 (without the retraining);
global: Frankle, Carbin, The Lottery Ticket Hypothesis, 2019.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from graphopt.errors import CalibrationError, PipelineError
from graphopt.ir import Array, Constant, Graph, Value
from graphopt.numerics import Lossy, Numerics
from graphopt.passes import Pass, PassContext, PassResult
from graphopt.transforms.pruning.masked import RecoverMasked
from graphopt.transforms.pruning.masking import zero_weights
from graphopt.transforms.pruning.selection import Selection
from graphopt.transforms.statistics import FLOATS

__all__ = ["PruneMagnitude", "prunable_weights", "smallest_magnitudes"]


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
    """Zero the smallest weights.

    Attributes:
        sparsity: fraction of elements zeroed in each scope, in [0, 1).
        scope: what is compared with what: weights of a ``tensor``, of all layers of an operator (``layer-type``), or all (``global``).
        min_size: tensors with fewer elements stay as they are.
        include: only the weights of these layers: names, patterns of ``*``, or ``op:Conv``; all if empty.
        exclude: no weights of these layers.
        steps: in which weights go, each of the same part of what is left; between them the others make up for that, as
            ``recover-masked`` does, which needs data. Where most weights go, two steps lose less than one.
    """

    name: ClassVar[str] = "prune-magnitude"
    idempotent: ClassVar[bool] = True
    keeps_types: ClassVar[bool] = True
    numerics: ClassVar[Numerics] = Lossy()
    needs_types: ClassVar[bool] = False
    sparsity: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.5
    scope: Literal["tensor", "layer-type", "global"] = "tensor"
    min_size: Annotated[int, msgspec.Meta(ge=1)] = 4
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    steps: Annotated[int, msgspec.Meta(ge=1)] = 1

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise PipelineError(f"prune-magnitude: steps is {self.steps}, expected 1 or more")
        if not 0 <= self.sparsity < 1:
            raise PipelineError(f"prune-magnitude: sparsity is {self.sparsity}, expected a number in [0, 1)")

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Prune the constants of a graph and its subgraphs, each once."""
        if self.steps > 1 and ctx.calibration is None:
            raise CalibrationError(
                f"prune-magnitude: steps is {self.steps}, and between them weights are fitted to data, of which there is none; "
                "bring calibration data, or leave steps out"
            )
        zeroed = 0
        tensors: set[Value] = set()
        for step in range(1, self.steps + 1):
            changed = self._zero(graph, ctx, 1 - (1 - self.sparsity) ** (step / self.steps))
            if changed and step < self.steps:
                RecoverMasked().run(graph, ctx)
            zeroed, tensors = zeroed + sum(changed.values()), tensors | changed.keys()
        return PassResult(changed=bool(tensors), stats={"zeroed": zeroed, "tensors": len(tensors)})

    def _zero(self, graph: Graph, ctx: PassContext, sparsity: float) -> dict[Value, int]:
        """How many elements of each weight became zero."""
        changed: dict[Value, int] = {}
        for scope in self._scopes(graph, ctx):
            chosen = _smallest([constant.numpy() for _value, constant in scope], sparsity)
            masks = {value: ~gone for (value, _constant), gone in zip(scope, chosen, strict=True) if gone.any()}
            changed |= zero_weights(self, graph, ctx, masks)
        return changed

    def _scopes(self, graph: Graph, ctx: PassContext) -> list[list[tuple[Value, Constant]]]:
        """Weights that are compared with each other."""
        selection = Selection(self.include, self.exclude)
        found: dict[object, list[tuple[Value, Constant]]] = {}
        weights = [item for item in prunable_weights(graph) if selection.admits(item[0], item[0].users)]
        selection.check(self.name, graph, found=bool(weights))
        for value, constant in weights:
            if constant.size < self.min_size:
                continue
            if not ctx.applications.admits(self.name, value.name):
                continue
            kind = value.users[0].op if value.users else ""
            key = {"tensor": value, "layer-type": kind, "global": None}[self.scope]
            found.setdefault(key, []).append((value, constant))
        return list(found.values())


def _smallest(arrays: list[Array], sparsity: float) -> list[npt.NDArray[np.bool_]]:
    """Where the smallest elements of several arrays are, counted together."""
    count = int(sparsity * sum(array.size for array in arrays))
    if len(arrays) == 1:
        return [smallest_magnitudes(arrays[0], count)]
    kind = np.float64 if any(array.dtype == np.float64 for array in arrays) else np.float32
    chosen = smallest_magnitudes(np.concatenate([array.astype(kind).reshape(-1) for array in arrays]), count)
    ends = np.cumsum([array.size for array in arrays])[:-1]
    return [part.reshape(array.shape) for part, array in zip(np.split(chosen, ends), arrays, strict=True)]


def prunable_weights(graph: Graph) -> Iterator[tuple[Value, Constant]]:
    """Initializers of a graph and the graphs inside it that may be pruned; those that callers may override are left to them."""
    for inner in list(graph.walk_graphs()):
        for value in inner.initializers():
            constant = value.const
            if constant is None or not value.is_constant or constant.is_sparse or constant.dtype not in FLOATS:
                continue
            if sum(size > 1 for size in constant.shape) >= 2 and constant.size:
                yield value, constant
