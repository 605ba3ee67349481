"""What a model costs, and how much of it is zero: operations, weights, bytes on disk and compressed."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from graphopt.analysis.cost import cost_of_node
from graphopt.ir import Model, Node, TensorType, clone_model
from graphopt.passes import ModelTypes
from graphopt.runtime.base import Feeds
from graphopt.transforms.pruning.magnitude import prunable_weights

__all__ = ["Size", "compressed_size", "flops_of_node", "size_of", "sized"]

_LEVEL: Final = 6
_PIECE: Final = 1 << 20


@dataclass(frozen=True)
class Size:
    """How large a model is.

    Attributes:
        flops: operations of one run, as far as they are known; a loop counts once.
        weights: elements of constant float tensors of two axes and more.
        zeros: how many of them are zero.
    """

    flops: int
    weights: int
    zeros: int

    @property
    def sparsity(self) -> float:
        """The part of the weights that is zero."""
        return self.zeros / self.weights if self.weights else 0.0


def sized(model: Model, feeds: Feeds, types: ModelTypes) -> Model:
    """A copy of a model with the sizes that some inputs have; operations are counted in it.

    Args:
        model: with types.
        feeds: inputs by name.
        types: infers the others.
    """
    copy = clone_model(model)
    for value in copy.graph.inputs:
        array = feeds.get(value.name)
        if isinstance(array, np.ndarray) and isinstance(value.type, TensorType):
            value.type = value.type.with_shape(tuple(array.shape))
    types.infer_model(copy)
    return copy


def flops_of_node(node: Node | None) -> int:
    """Operations of a node, 0 where they are not known."""
    found = None if node is None else cost_of_node(node).flops
    return found if isinstance(found, int) else 0


def size_of(model: Model) -> Size:
    """How large a model is.

    Args:
        model: with types, and sizes that are numbers.
    """
    weights = zeros = 0
    for _value, constant in prunable_weights(model.graph):
        weights += constant.size
        zeros += constant.size - int(np.count_nonzero(constant.numpy()))
    return Size(sum(map(flops_of_node, model.graph.walk())), weights, zeros)


def compressed_size(paths: Sequence[Path]) -> int:
    """Bytes of files as ``gzip`` makes them, a piece at a time; headers aside.

    Args:
        paths: of the model and what belongs to it.
    """
    total = 0
    for path in paths:
        packer = zlib.compressobj(_LEVEL)
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                total += len(packer.compress(piece))
        total += len(packer.flush())
    return total
