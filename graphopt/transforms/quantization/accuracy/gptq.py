"""Rounds the weights of a layer so that its outputs change least, not the weights: GPTQ.

Columns are rounded one after another; what rounding has done to the outputs so far is made up for by the next one: column ``i`` is
rounded from ``w_i + sum over k < i of (w_k - q_k) U_ki``. There ``U D U'``, with ``U`` unit upper triangular, is the damped matrix of the
second moments of the layer's input. All rows (output channels) at once, and all groups of a convolution. Pure numpy.

Source: Frantar et al., GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers, 2022 (arXiv 2210.17323),
sections 3 and 4, in the form that needs no inverse (Chee et al., QuIP, 2023, arXiv 2307.13304, theorem 6: both are the same). Scales are
those of the weights before the first step, so that columns may be taken in any order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Grid", "gptq", "output_error"]

Float64 = npt.NDArray[np.float64]
#: Columns after which what is left is updated by one product of matrices.
_BLOCK = 128
#: Share of the mean of the diagonal at which damping gives up growing: the matrix is as good as diagonal then.
_MOST_DAMPING = 1e6


@dataclass(frozen=True, slots=True)
class Grid:
    """The numbers that weights may become: ``(q - zero) * scale`` for integers ``q`` from ``least`` to ``most``.

    Attributes:
        scale: positive, [groups, rows, columns], or with one column for all.
        zero: the same.
        least: smallest integer.
        most: largest integer.
    """

    scale: Float64
    zero: Float64
    least: float
    most: float

    def nearest(self, weights: Float64) -> Float64:
        """Each weight as the nearest number of the grid."""
        steps = np.clip(np.rint(weights / self.scale) + self.zero, self.least, self.most)
        return (steps - self.zero) * self.scale


def output_error(difference: Float64, moments: Float64) -> Float64:
    """Mean square of what a difference of weights does to each output.

    Args:
        difference: float64 [groups, rows, columns].
        moments: mean products of inputs, float64 [groups, columns, columns].

    Returns:
        float64 [groups, rows], not negative.

    Example:
        >>> output_error(np.array([[[1.0, -1.0]]]), np.array([[[2.0, 1.0], [1.0, 2.0]]])).tolist()
        [[2.0]]
    """
    found: Float64 = np.einsum("gmk,gmk->gm", difference @ moments, difference)
    return np.maximum(found, 0.0)


def gptq(weights: Float64, moments: Float64, grid: Grid, *, damp: float = 0.01, by_activation: bool = True) -> Float64:
    """Weights on a grid, chosen for outputs like those of the weights that are given.

    A row for which rounding to nearest is better by ``moments`` is rounded to nearest, so no row gets worse by this.

    Args:
        weights: float64 [groups, rows, columns].
        moments: mean products of inputs, float64 [groups, columns, columns], positive semidefinite.
        grid: the numbers that are allowed.
        damp: share of the mean of the diagonal that is added to the diagonal, positive; more is taken if that is not enough.
        by_activation: whether columns of large inputs are rounded first, else in their order.

    Returns:
        float64 of the shape of ``weights``, each on the grid.
    """
    nearest = grid.nearest(weights)
    diagonal = np.diagonal(moments, axis1=1, axis2=2)
    order = np.argsort(-diagonal, axis=1, kind="stable") if by_activation else None
    if order is None:
        made = _columns(weights, _feedback(moments, damp), grid)
    else:
        rows, back = order[:, None, :], np.argsort(order, axis=1)[:, None, :]
        turned = np.take_along_axis(np.take_along_axis(moments, order[:, :, None], 1), rows, 2)
        there = Grid(_turned(grid.scale, rows), _turned(grid.zero, rows), grid.least, grid.most)
        made = _columns(np.take_along_axis(weights, rows, 2), _feedback(turned, damp), there)
        made = np.take_along_axis(made, back, 2)
    better = output_error(weights - made, moments) < output_error(weights - nearest, moments)
    return np.where(better[..., None], made, nearest)


def _turned(parameter: Float64, order: npt.NDArray[np.intp]) -> Float64:
    """Scales or zeros with their columns in another order."""
    return parameter if parameter.shape[2] == 1 else np.take_along_axis(parameter, order, 2)


def _feedback(moments: Float64, damp: float) -> Float64:
    """The unit upper triangular ``U`` of each group, with ``U D U'`` the damped moments and ``D`` diagonal."""
    size = moments.shape[-1]
    mean = np.trace(moments, axis1=1, axis2=2)[:, None, None] / size
    damped = np.ascontiguousarray(moments[:, ::-1, ::-1])
    damped /= np.where(mean > 0, mean, 1)
    diagonal = np.einsum("gii->gi", damped)  # a view
    added = 0.0
    while True:
        diagonal += damp - added
        try:
            lower = np.linalg.cholesky(damped)
            break
        except np.linalg.LinAlgError:
            if damp >= _MOST_DAMPING:
                raise
            added, damp = damp, damp * 10
    upper = lower[:, ::-1, ::-1].astype(np.float64)
    upper /= np.diagonal(upper, axis1=1, axis2=2)[:, None, :].copy()
    return upper


def _columns(weights: Float64, feedback: Float64, grid: Grid) -> Float64:
    """Round column after column."""
    errors = np.empty_like(weights)
    size = weights.shape[2]
    for start in range(0, size, _BLOCK):
        stop = min(start + _BLOCK, size)
        part = weights[:, :, start:stop] + errors[:, :, :start] @ feedback[:, :start, start:stop]
        for at in range(start, stop):
            which = at % grid.scale.shape[2]
            scale, zero, column = grid.scale[:, :, which], grid.zero[:, :, which], part[:, :, at - start]
            steps = np.clip(np.rint(column / scale) + zero, grid.least, grid.most)
            error = weights[:, :, at] - (steps - zero) * scale
            errors[:, :, at] = error
            part[:, :, at - start :] += error[:, :, None] * feedback[:, None, at, at:stop]
    return weights - errors
