"""What a model costs, and how much of it is zero: operations, weights, bytes on disk and compressed."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from graphopt.analysis.cost import cost_of_node
from graphopt.ir import Model
from graphopt.transforms.pruning.magnitude import prunable_weights

__all__ = ["Size", "compressed_size", "size_of"]

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


def size_of(model: Model, sizes: Mapping[str, int]) -> Size:
    """How large a model is.

    Args:
        model: with types.
        sizes: of symbolic dimensions.
    """
    flops = 0
    for node in model.graph.walk():
        found = cost_of_node(node, sizes).flops
        flops += found if isinstance(found, int) else 0
    weights = zeros = 0
    for _value, constant in prunable_weights(model.graph):
        weights += constant.size
        zeros += constant.size - int(np.count_nonzero(constant.numpy()))
    return Size(flops, weights, zeros)


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
