"""Finds mean and variance of each BatchNormalization anew: what it reads is no longer what it was trained on.

The statistics become those of the calibration data, as they are after the layers before were changed: BatchNormalizations with the same
number of others before them are looked at in one run. Touches weights; needs types and data; not idempotent. Numerics: lossy.

Source: Li et al., EagleEye: Fast Sub-net Evaluation for Efficient Neural Network Pruning, 2020, section 3.3 (adaptive BatchNorm).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.ir import Constant, Graph, Node, Value
from graphopt.numerics import Lossy, Numerics
from graphopt.passes import Pass, PassContext, PassResult
from graphopt.transforms.statistics import ChannelMoments, observed

__all__ = ["ReestimateBatchNorm"]

_CHANNELS, _MEAN, _VARIANCE = 1, 3, 4


@dataclass(frozen=True)
class ReestimateBatchNorm(Pass):
    """Set mean and variance of each BatchNormalization to those of calibration data."""

    name: ClassVar[str] = "reestimate-batch-norm"
    numerics: ClassVar[Numerics] = Lossy()
    per_function: ClassVar[bool] = False
    keeps_types: ClassVar[bool] = True

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Look at all BatchNormalizations of one depth, then at those behind them."""
        changed = 0
        for level in _levels(graph):
            chosen = [
                (node, ChannelMoments(_CHANNELS)) for node in level if ctx.applications.admits(self.name, node.name)
            ]
            observed(self.name, graph, ctx, [(node.inputs[0], moments) for node, moments in chosen if node.inputs[0]])
            for node, moments in chosen:
                if moments.count:
                    _set(node.inputs[_MEAN], moments.mean)
                    _set(node.inputs[_VARIANCE], moments.variance)
                    ctx.applications.record(self.name, node.name)
                    changed += 1
            graph.touch()
        return PassResult(changed=changed > 0, stats={"nodes": changed})


def _set(value: Value | None, numbers: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> None:
    assert value is not None, "it was found to be there"
    assert value.const is not None, "it was found to be constant"
    value.const = Constant(numbers.astype(value.const.numpy().dtype))


def _levels(graph: Graph) -> list[list[Node]]:
    """BatchNormalizations of the main graph with statistics of their own, by how many of them are before each."""
    depths: dict[Value, int] = {}
    levels: dict[int, list[Node]] = {}
    for node in graph.nodes:
        depth = max((depths.get(value, 0) for value in node.inputs if value is not None), default=0)
        if _has_own_statistics(node):
            levels.setdefault(depth, []).append(node)
            depth += 1
        depths.update(dict.fromkeys(node.outputs, depth))
    return [levels[depth] for depth in sorted(levels)]


def _has_own_statistics(node: Node) -> bool:
    if node.op != "BatchNormalization" or node.int_attr("training_mode", 0) or len(node.inputs) <= _VARIANCE:
        return False
    source = node.inputs[0]
    statistics = (node.inputs[_MEAN], node.inputs[_VARIANCE])
    if source is None or source.dtype is None or not source.dtype.is_float:
        return False
    return all(value is not None and value.is_constant and value.has_single_use for value in statistics)
