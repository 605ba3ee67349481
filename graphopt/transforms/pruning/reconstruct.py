"""Fits what is left of each layer anew, so that it gives what the layer gave before channels went: least squares, in closed form.

For a layer ``y = x . W' + b`` and what the reference gave, ``t``, the weights become those that make the mean of ``|x . W' + b - t|^2``
least, drawn to the present ones where the data says little: ``(X'X + d) [W'; b] = X't + d [W'; b]_now`` with ``d`` a small part of the
mean of the diagonal. ``x`` is what the layer reads now, after the layers before it were fitted, so errors don't add up. No labels, no
gradients; data streams by once for each layer. Touches weights of Conv, Gemm and MatMul; needs types and data; not idempotent, as data
decides. Numerics: lossy.

Source: He et al., Channel Pruning for Accelerating Very Deep Neural Networks, 2017, section 3.1, with the channels chosen before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import msgspec
import numpy as np
import numpy.typing as npt

from graphopt.errors import CalibrationError
from graphopt.ir import Constant, Graph, Model, Node, Value
from graphopt.numerics import Lossy, Numerics
from graphopt.passes import Pass, PassContext, PassResult, Reference
from graphopt.rewriting import NoMatch
from graphopt.transforms.pruning.paired import PairedMoments, cut_to, joined
from graphopt.transforms.statistics import LayerInput, read_layer

__all__ = ["ReconstructLayers", "fitted"]

Float64 = npt.NDArray[np.float64]
#: Part of zeros from which on a weight is taken to be masked: fitting would fill it up.
_MASKED = 0.05


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
    """

    name: ClassVar[str] = "reconstruct-layers"
    numerics: ClassVar[Numerics] = Lossy()
    per_function: ClassVar[bool] = False
    keeps_types: ClassVar[bool] = True
    damping: Annotated[float, msgspec.Meta(ge=0)] = 1e-3

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Fit one layer after the other, in the order of the graph."""
        reference, model = ctx.reference, graph.owner
        layers = list(_layers(graph, reference)) if reference is not None else []
        changed = 0
        for index, layer in enumerate(layers):
            ctx.progress(f"layer {index + 1} of {len(layers)}")
            if reference is None or not isinstance(model, Model):
                break
            if ctx.applications.admits(self.name, layer.node.name) and self._fit(model, layer, reference, ctx):
                ctx.applications.record(self.name, layer.node.name)
                changed += 1
        if changed:
            graph.touch()
        return PassResult(changed=changed > 0, stats={"layers": changed})

    def _fit(self, model: Model, layer: LayerInput, reference: Reference, ctx: PassContext) -> bool:
        if ctx.calibration is None:
            raise CalibrationError(
                f"pass {self.name!r} looks at data, and there is none; bring calibration data, or leave the pass out"
            )
        constant, bias = layer.weight.const, _bias(layer.node)
        output = layer.node.outputs[0].name
        assert constant is not None, "the weights were found to be constant"
        both, names = joined(model, reference)
        pair = PairedMoments(layer, constant.shape[layer.output_axis], (reference, output))
        cut_to(both, {layer.value.name, names[output]})
        ctx.calibration.observe(both, dict(pair.observers(layer.value, names[output])))
        if not pair.count:
            return False
        present: Float64 = layer.matrix(constant.numpy()).astype(np.float64).swapaxes(1, 2)
        inputs, targets = pair.inputs, pair.targets
        if bias is None or bias.const is None:
            inputs, targets = inputs[:, :-1, :-1], targets[:, :-1]
        else:
            shift = bias.const.numpy().astype(np.float64).reshape(layer.groups, 1, -1)
            present = np.concatenate([present, shift], axis=1)
        found = fitted(inputs, targets, present, self.damping)
        if not np.isfinite(found).all():
            return False
        kind = constant.numpy().dtype
        columns = layer.columns
        layer.weight.const = Constant(
            layer.weights(np.ascontiguousarray(found[:, :columns].swapaxes(1, 2))).astype(kind)
        )
        if bias is not None and bias.const is not None:
            bias.const = Constant(found[:, columns].reshape(bias.const.shape).astype(bias.const.numpy().dtype))
        return True


def _bias(node: Node) -> Value | None:
    """The bias of a layer, if only this layer reads it and it has a number for each output channel."""
    value = node.input_at(2) if node.op in ("Conv", "Gemm") else None
    if value is None or value.const is None or not value.is_constant or not value.has_single_use:
        return None
    outputs = node.outputs[0].shape
    return value if outputs is not None and value.const.size == outputs[1] else None


def _layers(graph: Graph, reference: Reference) -> Iterator[LayerInput]:
    """Layers that read something else than in the reference, or have lost weights, and are to give what they gave there."""
    known = {value.name for node in reference.model.graph.nodes for value in node.outputs}
    touched: set[Value] = set()
    for node in graph.nodes:
        reads = [value for value in node.inputs if value is not None]
        if any(value in touched or value.name in reference.kept for value in reads):
            touched.update(node.outputs)
        elif not any(value.name in reference.kept for value in node.outputs):
            continue
        layer = read_layer(node)
        if isinstance(layer, NoMatch) or node.outputs[0].name not in known or not layer.weight.has_single_use:
            continue
        constant = layer.weight.const
        assert constant is not None, "the weights were found to be constant"
        other = node.op == "Gemm" and (node.float_attr("alpha", 1.0) != 1.0 or node.float_attr("beta", 1.0) != 1.0)
        zeros = constant.size - int(np.count_nonzero(constant.numpy()))
        if not other and node.input_at(2) is _bias(node) and zeros <= _MASKED * constant.size:
            yield layer
