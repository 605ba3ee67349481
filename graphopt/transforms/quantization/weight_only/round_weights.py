"""The pass that rounds weights with parameters to the numbers that they will be stored as, so that sums stay. Needs no data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.ir import Constant, Graph, Node
from graphopt.numerics import Lossy, Numerics
from graphopt.passes import Pass, PassContext, PassResult
from graphopt.transforms.quantization.layers import Selection
from graphopt.transforms.quantization.parameters import dequantized
from graphopt.transforms.quantization.weight_only.balancing import balanced, summed_axes

__all__ = ["RoundWeights"]


@dataclass(frozen=True)
class RoundWeights(Pass):
    """Round the weights of convolutions that have quantization parameters so that the sum of each kernel stays.

    For Conv and ConvTranspose with kernels of several weights, after ``assign-quantization`` has chosen parameters and before
    ``insert-qdq`` stores integers: weights stay floats, on the grid. Those in blocks, and those that are on their grid already, stay as
    they are. Touches weights; needs types, no data; idempotent. Numerics: lossy.

    Attributes:
        include: layers to work on, by name, pattern or ``op:Conv``; all if empty.
        exclude: layers to leave as they are.
    """

    name: ClassVar[str] = "round-weights"
    numerics: ClassVar[Numerics] = Lossy()
    keeps_types: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Round the weights of all layers."""
        selection, rounded = Selection(self.include, self.exclude), 0
        for node in graph.walk():
            if selection.admits(node) and ctx.applications.admits(self.name, node.outputs[0].name) and _round(node):
                ctx.applications.record(self.name, node.outputs[0].name)
                rounded += 1
        if rounded:
            graph.touch()
        return PassResult(changed=rounded > 0, stats={"weights": rounded} if rounded else {})


def _round(node: Node) -> bool:
    """Round the weight of a layer; whether that changed anything."""
    value = node.input_at(1)
    if value is None or not value.is_constant or value.const is None or value.const.is_sparse or not value.const.size:
        return False
    how, weights = value.quantization, value.const.numpy()
    if how is None or how.block or not np.isfinite(weights.astype(np.float32)).all():
        return False
    axes = summed_axes(node, weights)
    if not axes or (how.axis is not None and how.axis % weights.ndim in axes):
        return False
    found = np.asarray(dequantized(balanced(weights, how, axes), how)).astype(weights.dtype)
    if np.array_equal(found, weights):
        return False
    value.const = Constant(found)
    return True
