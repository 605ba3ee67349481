"""Fits what is left of each layer anew, so that it gives what the layer gave before channels went: least squares, in closed form.

For a layer ``y = x . W' + b`` and what the reference gave, ``t``, the weights become those that make the mean of ``|x . W' + b - t|^2``
least, drawn to the present ones where the data says little: ``(X'X + d) [W'; b] = X't + d [W'; b]_now`` with ``d`` a small part of the
mean of the diagonal. ``x`` is what the layer reads now, after the layers before it were fitted, so errors don't add up. No labels, no
gradients; model and reference run once over the data, stage by stage. With ``what=biases`` only ``b`` is found anew, so that means are
what they were, which takes no products and little data. Layers with a mask are left to ``recover-masked``. Touches weights of Conv, Gemm
and MatMul; needs types and data; not idempotent. Numerics: lossy.

Source: He et al., Channel Pruning for Accelerating Very Deep Neural Networks, 2017, section 3.1, with the channels chosen before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import msgspec
import numpy as np

from graphopt.ir import Graph
from graphopt.numerics import Lossy, Numerics
from graphopt.passes import Pass, PassContext, PassResult
from graphopt.transforms.pruning.fitting import Float64, bias_of, fit_layers, is_masked
from graphopt.transforms.statistics import LayerInput

__all__ = ["ReconstructLayers", "fitted"]


def fitted(inputs: Float64, targets: Float64, present: Float64, damping: float) -> Float64:
    """Least squares from sums of products, drawn to the present solution.

    Args:
        inputs: ``X'X``, float64 [groups, columns, columns].
        targets: ``X't``, float64 [groups, columns, outputs].
        present: float64 [groups, columns, outputs].
        damping: part of the mean of the diagonal of ``X'X``.

    Returns:
        float64 [groups, columns, outputs].

    Example:
        >>> x = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
        >>> fitted((x.T @ x)[None], (x.T @ x @ [[3.0], [4.0]])[None], np.zeros((1, 2, 1)), 0.0).round(6).tolist()
        [[[3.0], [4.0]]]
    """
    size = inputs.shape[-1]
    mean = np.trace(inputs, axis1=1, axis2=2)[:, None, None] / size
    drawn = np.maximum(damping * mean, 1e-9 * mean + 1e-30)
    found: Float64 = np.linalg.solve(inputs + drawn * np.eye(size), targets + drawn * present)
    return found


@dataclass(frozen=True)
class ReconstructLayers(Pass):
    """Fit the weights that are left to what layers gave before channels went.

    Put it right behind ``prune-channels``. It does nothing where nothing was removed.

    Attributes:
        damping: how much the present weights count, as part of the mean square of the inputs.
        what: ``weights`` and biases, or ``biases`` alone, which is faster and brings back less.
    """

    name: ClassVar[str] = "reconstruct-layers"
    numerics: ClassVar[Numerics] = Lossy()
    per_function: ClassVar[bool] = False
    keeps_types: ClassVar[bool] = True
    damping: Annotated[float, msgspec.Meta(ge=0)] = 1e-2
    what: Literal["weights", "biases"] = "weights"

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Fit one layer after the other, in the order of the graph."""
        changed = fit_layers(
            self.name,
            graph,
            ctx,
            self._wanted,
            self._solve,
            sums_only=self.what == "biases",
        )
        return PassResult(changed=changed > 0, stats={"layers": changed})

    def _wanted(self, layer: LayerInput) -> bool:
        return not is_masked(layer) and (self.what == "weights" or bias_of(layer.node) is not None)

    def _solve(self, layer: LayerInput, inputs: Float64, targets: Float64, present: Float64) -> Float64:
        if self.what == "weights":
            return fitted(inputs, targets, present, self.damping)
        found = present.copy()
        lacking = targets[:, -1] - np.einsum("gc,gco->go", inputs[:, -1], present)
        found[:, -1] += lacking / inputs[:, -1, -1:]
        return found
