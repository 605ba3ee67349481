"""Makes up, with the weights that are left, for those that became zero: layer by layer, the mask stays as it is.

Of the weights ``w`` of an output channel only those in its mask ``S`` may move, and the best ones solve ``(X'X)_SS w_S = (X't)_S``, where
``x`` is what the layer reads now and ``t`` what it gave before. Each output channel has a mask of its own, so these are equations for each
of them: solved exactly up to a number of columns. For more, columns are taken one after another, as SparseGPT does: from the best dense
weights, what is to be zero is taken away, and the columns behind make up for it by the inverse of ``X'X``, which costs as much as one
solution. No labels, no gradients; data streams by once for each layer. Touches weights of Conv, Gemm and MatMul; needs types and data; not
idempotent. Numerics: lossy.

Source: Frantar and Alistarh, SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot, 2023, sections 3.2 and 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import msgspec
import numpy as np
import numpy.typing as npt

from graphopt.ir import Graph
from graphopt.numerics import Lossy, Numerics
from graphopt.passes import Pass, PassContext, PassResult
from graphopt.transforms.pruning.fitting import Float64, fit_layers, is_masked
from graphopt.transforms.pruning.reconstruct import fitted
from graphopt.transforms.statistics import LayerInput

__all__ = ["RecoverMasked", "columnwise", "exactly"]

#: Columns up to which each output channel gets equations of its own.
_MOST = 640
_Mask = npt.NDArray[np.bool_]


def exactly(inputs: Float64, targets: Float64, present: Float64, mask: _Mask, damping: float) -> Float64:
    """The best weights within a mask.

    Args:
        inputs: ``X'X``, float64 [columns, columns].
        targets: ``X't``, float64 [columns, outputs].
        present: what they are drawn to, float64 [columns, outputs].
        mask: which may differ from zero, bool [columns, outputs].
        damping: part of the mean of the diagonal of ``X'X``.

    Returns:
        float64 [columns, outputs].

    Example:
        >>> moments = np.array([[2.0, 1.0], [1.0, 2.0]])
        >>> exactly(moments, moments @ [[1.0], [1.0]], np.zeros((2, 1)), np.array([[True], [False]]), 0.0).round(6).tolist()
        [[1.5], [0.0]]
    """
    mean = float(np.trace(inputs)) / len(inputs)
    drawn = max(damping * mean, 1e-9 * mean + 1e-30)
    found = np.zeros(present.shape)
    for output in range(present.shape[1]):
        places = np.flatnonzero(mask[:, output])
        matrix = inputs[np.ix_(places, places)] + drawn * np.eye(len(places))
        found[places, output] = np.linalg.solve(matrix, targets[places, output] + drawn * present[places, output])
    return found


def columnwise(inputs: Float64, weights: Float64, mask: _Mask, damping: float) -> Float64:
    """Weights within a mask, made from dense ones column after column.

    Args:
        inputs: ``X'X``, float64 [columns, columns].
        weights: dense, float64 [columns, outputs].
        mask: which may differ from zero, bool [columns, outputs].
        damping: part of the mean of the diagonal of ``X'X``.

    Returns:
        float64 [columns, outputs].

    Example:
        >>> moments = np.array([[2.0, 1.0], [1.0, 2.0]])
        >>> columnwise(moments, np.array([[1.0], [1.0]]), np.array([[False], [True]]), 0.0).round(6).tolist()
        [[0.0], [1.5]]
    """
    size = len(inputs)
    mean = float(np.trace(inputs)) / size
    drawn = max(damping * mean, 1e-9 * mean + 1e-30)
    inverse = np.linalg.inv(inputs + drawn * np.eye(size))
    upper = np.linalg.cholesky((inverse + inverse.T) / 2).T
    left = weights.copy()
    for column in range(size):
        error = np.where(mask[column], 0.0, left[column]) / upper[column, column]
        left[column:] -= upper[column, column:, None] * error[None]
        left[column, ~mask[column]] = 0.0
    return left


@dataclass(frozen=True)
class RecoverMasked(Pass):
    """Let the weights that are left make up for those that became zero.

    Put it right behind ``prune-magnitude`` or ``prune-n-m``. It does nothing where nothing became zero.

    Attributes:
        damping: how much the present weights count, as part of the mean square of the inputs.
    """

    name: ClassVar[str] = "recover-masked"
    numerics: ClassVar[Numerics] = Lossy()
    per_function: ClassVar[bool] = False
    keeps_types: ClassVar[bool] = True
    damping: Annotated[float, msgspec.Meta(ge=0)] = 1e-3

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Fit one layer after the other, in the order of the graph."""
        changed = fit_layers(self.name, graph, ctx, is_masked, self._solve)
        return PassResult(changed=changed > 0, stats={"layers": changed})

    def _solve(self, layer: LayerInput, inputs: Float64, targets: Float64, present: Float64) -> Float64:
        mask = present != 0
        mask[:, layer.columns :] = True  # the bias
        if inputs.shape[-1] <= _MOST:
            parts = [exactly(*group, self.damping) for group in zip(inputs, targets, present, mask, strict=True)]
        else:
            dense = fitted(inputs, targets, present, self.damping)
            parts = [columnwise(*group, self.damping) for group in zip(inputs, dense, mask, strict=True)]
        return np.stack(parts)
