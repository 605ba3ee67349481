"""Blocks of pixels to channels and back, and sequences that are turned round."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.protocols import Tensor
from graphopt.backends.tensorrt.registry import lower
from graphopt.ir import DType, Node

__all__ = ["depth_to_space", "reverse_sequence", "space_to_depth"]


def _split_sizes(e: Emitter, x: Tensor, parts: Sequence[int | tuple[int, int, int]]) -> Tensor:
    """A tensor reshaped to numbers, and to sizes of its own axes: (axis, times, divided by)."""
    sizes: list[int] = []
    for item in parts:
        if isinstance(item, int):
            sizes.append(item)
        else:
            axis, times, by = item
            sizes.append(-1 if x.shape[axis] == -1 else x.shape[axis] * times // by)
    if sizes.count(-1) <= 1:
        return e.reshape(x, sizes)
    pieces = []
    for item in parts:
        if isinstance(item, int):
            pieces.append(e.constant(np.array([item], np.int64)))
            continue
        axis, times, by = item
        size = e.elementwise(e.sizes(x, [axis]), e.constant(np.array([times], np.int64)), "PROD")
        pieces.append(e.elementwise(size, e.constant(np.array([by], np.int64)), "DIV"))
    return e.reshape(x, e.concat(pieces))


def _channels_known(node: Node) -> str | None:
    value = node.input_at(0)
    fixed = value is not None and value.shape is not None and isinstance(value.shape[1], int)
    return None if fixed else "blocks of a number of channels that is not fixed"


@lower("DepthToSpace", supports=_channels_known)
def depth_to_space(e: Emitter, node: Node) -> Sequence[Tensor]:
    """Two shuffles."""
    x, block = e.input(node, 0), node.int_attr("blocksize")
    depth = x.shape[1] // block**2
    crd = node.str_attr("mode") == "CRD"
    parts: list[int | tuple[int, int, int]] = [depth, block, block] if crd else [block, block, depth]
    apart = _split_sizes(e, x, [(0, 1, 1), *parts, (2, 1, 1), (3, 1, 1)])
    moved = e.transpose(apart, [0, 1, 4, 2, 5, 3] if crd else [0, 3, 4, 1, 5, 2])
    return [_joined(e, x, moved, depth, block, 1)]


@lower("SpaceToDepth", supports=_channels_known)
def space_to_depth(e: Emitter, node: Node) -> Sequence[Tensor]:
    """Two shuffles."""
    x, block = e.input(node, 0), node.int_attr("blocksize")
    depth = x.shape[1]
    apart = _split_sizes(e, x, [(0, 1, 1), depth, (2, 1, block), block, (3, 1, block), block])
    crd = node.str_attr("mode") == "CRD"
    moved = e.transpose(apart, [0, 1, 3, 5, 2, 4] if crd else [0, 3, 5, 1, 2, 4])
    return [_joined(e, x, moved, depth * block**2, 1, block)]


def _joined(e: Emitter, x: Tensor, moved: Tensor, depth: int, times: int, by: int) -> Tensor:
    """A tensor of six axes in the four that are left, its sizes those of ``x`` times and divided by numbers."""
    sizes = [x.shape[0], depth, *(-1 if size == -1 else size * times // by for size in tuple(x.shape)[2:])]
    if sizes.count(-1) <= 1:
        return e.reshape(moved, sizes)
    spatial = e.elementwise(e.sizes(x, (2, 3)), e.constant(np.array([times], np.int64)), "PROD")
    spatial = e.elementwise(spatial, e.constant(np.array([by], np.int64)), "DIV")
    return e.reshape(moved, e.concat([e.sizes(x, [0]), e.constant(np.array([depth], np.int64)), spatial]))


@lower("ReverseSequence")
def reverse_sequence(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One layer."""
    x, lengths = e.input(node, 0), e.cast(e.input(node, 1), DType.INT64)
    layer = e.check(e.network.add_reverse_sequence(x, lengths))
    layer.batch_axis = node.int_attr("batch_axis", 1)
    layer.sequence_axis = node.int_attr("time_axis", 0)
    return [e.out(layer)]
