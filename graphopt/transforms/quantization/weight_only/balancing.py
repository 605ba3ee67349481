"""Weights are rounded so that their sums stay: what a layer makes of a constant input does not change.

Rounding to nearest errs by up to half a step at each weight. Where neighbouring inputs are much alike (pixels under the kernel of a
convolution) errors add up to a shift that is often the largest part of what quantization costs: with nine weights to a depthwise kernel
nothing averages out. So of the weights that are nearest to the other side a few are rounded the other way, until the sum over a kernel of
one input and one output channel errs by half a step at most. No data is needed.

Source: the same idea as in error-compensating rounding of Nagel et al., Up or Down?, 2020 (arXiv 2004.10568), with the sum for the data.
"""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from graphopt.ir import Array, Node, Quantization
from graphopt.transforms.quantization.parameters import expanded, integer_range

__all__ = ["balanced", "summed_axes"]


def balanced(weights: Array, how: Quantization, axes: tuple[int, ...]) -> Array:
    """What weights are stored as, so that their sums over some axes are as near to what they were as whole steps allow.

    Args:
        weights: finite floats.
        how: parameters without blocks, of one scale or of one for each place along an axis that is not summed over.
        axes: over which sums are kept.

    Returns:
        Array of ``how.dtype``; each number is one that a weight lies between, none beyond what rounding to nearest gives somewhere.

    Example:
        >>> from graphopt.ir import Constant, DType
        >>> how = Quantization(DType.INT8, Constant(np.array(1, np.float32)), Constant(np.array(0, np.int8)))
        >>> balanced(np.array([[0.4, 0.4, 0.45, 3.0]], np.float32), how, (1,)).tolist()
        [[0, 0, 1, 3]]
    """
    least, most = integer_range(how.dtype)
    parameters = (how.scale.numpy(), how.zero_point.numpy())
    scale, zero = (
        cast("NDArray[np.floating[Any]]", expanded(item.astype(np.float32), weights.shape, how.axis))
        for item in parameters
    )
    exact = np.asarray(weights, np.float32) / scale + zero
    moved = np.moveaxis(exact, axes, range(-len(axes), 0))
    rows = moved.reshape(-1, math.prod(weights.shape[axis] for axis in axes))
    near = np.clip(np.rint(rows), least, most)
    least, most = int(near.min(initial=most)), int(near.max(initial=least))  # a range of fewer bits is not left
    left = rows - near
    steps = np.rint(left.sum(1))
    toward = np.sign(steps)[:, None]
    gain = np.where((near + toward < least) | (near + toward > most) | (left * toward <= 0), -np.inf, left * toward)
    place = np.empty(rows.shape, np.int64)
    np.put_along_axis(place, np.argsort(-gain, axis=1, kind="stable"), np.arange(rows.shape[1])[None, :], axis=1)
    near += toward * ((place < np.abs(steps)[:, None]) & np.isfinite(gain))
    found = np.moveaxis(near.reshape(moved.shape), range(-len(axes), 0), axes)
    return cast("Array", found.astype(np.int64).astype(how.dtype.numpy))


def summed_axes(node: Node, weights: Array) -> tuple[int, ...]:
    """The axes of a layer's weight over which sums are worth to be kept: those of kernels of several weights, none for all else."""
    if node.op not in ("Conv", "ConvTranspose") or math.prod(weights.shape[2:]) <= 1:
        return ()
    return tuple(range(2, weights.ndim))
