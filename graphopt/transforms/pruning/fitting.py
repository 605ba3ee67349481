"""Fits the weights of one layer after the other to what the layers gave before something was taken away.

Which layers these are, in the order of the graph, and one walk over model and data for all; what solves the equations is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from graphopt.errors import CalibrationError
from graphopt.ir import Constant, Graph, Model, Node, Value
from graphopt.passes import Observer, PassContext, Reference
from graphopt.rewriting import NoMatch
from graphopt.transforms.pruning.paired import PairedMoments, Target
from graphopt.transforms.pruning.walking import Walk, reads_of
from graphopt.transforms.statistics import LayerInput, Several, read_layer

__all__ = ["Affected", "Float64", "Solve", "affected_layers", "bias_of", "fit_layers", "is_masked", "reference_weights"]

Float64 = npt.NDArray[np.float64]
#: From ``X'X`` [groups, columns, columns], ``X't`` and present weights [groups, columns, outputs], the new weights; the last column is the
#: bias if the layer has one.
Solve = Callable[[LayerInput, Float64, Float64, Float64], Float64]
#: Part of zeros from which on a weight is taken to be masked.
_MASKED = 0.05


def is_masked(layer: LayerInput) -> bool:
    """Whether so many weights are zero that somebody must have wanted them to be."""
    constant = layer.weight.const
    assert constant is not None, "the weights were found to be constant"
    return constant.size - int(np.count_nonzero(constant.numpy())) > _MASKED * constant.size


def reference_weights(reference: Reference) -> dict[str, Constant]:
    """Constants of the reference by name."""
    return {
        value.name: value.const
        for graph in reference.model.graph.walk_graphs()
        for value in graph.initializers()
        if value.const is not None
    }


@dataclass(frozen=True, slots=True)
class Affected:
    """A layer to fit.

    Attributes:
        layer: reads something else than in the reference, or has other weights; or what it is added to is not what it was.
        target: the tensor that is to be what it was: the output of the layer, or the sum of that with something else.
        beside: what is added to the output, if ``target`` is a sum.
    """

    layer: LayerInput
    target: Value
    beside: Value | None


def affected_layers(graph: Graph, reference: Reference) -> Iterator[Affected]:
    """Layers that may make up for something, in the order of the graph, with what they are to give."""
    known = {value.name for node in reference.model.graph.nodes for value in node.outputs}
    before = reference_weights(reference)
    touched: set[Value] = set()
    done: set[Value] = set()
    for node in graph.nodes:
        reads = [value for value in node.inputs if value is not None]
        changed = any(value in touched or _is_other(value, before) for value in reads)
        if changed:
            touched.update(node.outputs)
        done.update(node.outputs)
        layer = read_layer(node)
        if isinstance(layer, NoMatch) or not layer.weight.has_single_use or node.input_at(2) is not bias_of(node):
            continue
        if node.op == "Gemm" and (node.float_attr("alpha", 1.0) != 1.0 or node.float_attr("beta", 1.0) != 1.0):
            continue
        found = _with_target(layer, done)
        if found.target.name in known and (changed or found.beside in touched):
            yield found


def _with_target(layer: LayerInput, done: set[Value]) -> Affected:
    """A layer that is added to what was fitted before it makes up for that too: then the sum is what it aims at."""
    output = layer.node.outputs[0]
    plain = Affected(layer, output, None)
    users = output.users
    if not output.has_single_use or users[0].op != "Add" or users[0].graph is not layer.node.graph:
        return plain
    other = next((value for value in users[0].inputs if value is not None and value is not output), None)
    shape = output.shape
    if other is None or other not in done or shape is None or None in shape or other.shape != shape:
        return plain
    return Affected(layer, users[0].outputs[0], other)


def _is_other(value: Value, before: dict[str, Constant]) -> bool:
    constant = value.const
    if constant is None or value.is_input:
        return False
    stated = before.get(value.name)
    return stated is not None and stated is not constant and not stated.equals(constant)


def bias_of(node: Node) -> Value | None:
    """The bias of a layer, if only this layer reads it and it has a number for each output channel."""
    value = node.input_at(2) if node.op in ("Conv", "Gemm") else None
    if value is None or value.const is None or not value.is_constant or not value.has_single_use:
        return None
    outputs = node.outputs[0].shape
    return value if outputs is not None and value.const.size == outputs[1] else None


def _stages(graph: Graph, layers: Sequence[Affected]) -> Iterator[list[Affected]]:
    """Layers in their order, together as long as none reads, or is added to, what another one of them changes."""
    by_node = {item.layer.node: item for item in layers}
    stage: list[Affected] = []
    changing: set[Value] = set()
    for node in graph.nodes:
        item = by_node.get(node)
        if item is not None:
            if item.layer.value in changing or item.beside in changing:
                yield stage
                stage, changing = [], set()
            stage.append(item)
        if item is not None or any(value in changing for value in reads_of(node)):
            changing.update(node.outputs)
    if stage:
        yield stage


def fit_layers(
    name: str,
    graph: Graph,
    ctx: PassContext,
    wanted: Callable[[LayerInput], bool],
    solve: Solve,
    *,
    sums_only: bool = False,
) -> int:
    """Fit each affected layer that is wanted, in the order of the graph.

    Args:
        name: of the pass that asks.
        graph: the main graph.
        ctx: has the reference and data.
        wanted: chooses layers.
        solve: gives new weights.
        sums_only: whether it needs no products but those with the column of ones.

    Returns:
        How many layers have other weights now.

    Raises:
        CalibrationError: if a layer is to be fitted, and there is no data or it does not fit.
    """
    reference, model = ctx.reference, graph.owner
    if reference is None or not isinstance(model, Model):
        return 0
    layers = [
        item
        for item in affected_layers(graph, reference)
        if wanted(item.layer) and ctx.applications.admits(name, _site(item.layer))
    ]
    if not layers:
        return 0
    if ctx.calibration is None:
        raise CalibrationError(
            f"pass {name!r} looks at data, and there is none; bring calibration data, or leave the pass out"
        )
    changed = done = 0
    with Walk(model, reference, ctx.calibration) as walk:
        for stage in _stages(graph, layers):
            done += len(stage)
            ctx.progress(f"layer {done} of {len(layers)}")
            for item, pair in zip(stage, _seen(walk, reference, stage, layers[done:], sums_only), strict=True):
                if _fit(item.layer, pair, solve):
                    for value in item.layer.node.inputs[1:]:
                        walk.change(value)
                    ctx.applications.record(name, _site(item.layer))
                    changed += 1
    if changed:
        graph.touch()
    return changed


def _site(layer: LayerInput) -> str:
    return layer.node.name or layer.node.outputs[0].name


def _seen(
    walk: Walk, reference: Reference, stage: Sequence[Affected], later: Sequence[Affected], sums_only: bool
) -> list[PairedMoments]:
    """What the layers of a stage read and are to give; one run for all of them."""
    pairs = [
        PairedMoments(
            item.layer,
            item.layer.outputs,
            Target(reference, item.target.name, item.beside),
            walk.batches,
            sums_only=sums_only,
        )
        for item in stage
    ]
    observers: dict[str, list[Observer]] = {}
    for pair in pairs:
        for name, observer in pair.observers(walk.names).items():
            observers.setdefault(name, []).append(observer)
    names = [walk.names[item.target.name] for item in later]
    names += [value.name for item in later for value in (item.layer.value, item.beside) if value is not None]
    walk.observe({name: Several(items) for name, items in observers.items()}, names)
    return pairs


def _fit(layer: LayerInput, pair: PairedMoments, solve: Solve) -> bool:
    constant, bias = layer.weight.const, bias_of(layer.node)
    assert constant is not None, "the weights were found to be constant"
    if not pair.count:
        return False
    present: Float64 = layer.matrix(constant.numpy()).astype(np.float64).swapaxes(1, 2)
    inputs, targets = pair.inputs, pair.targets
    if bias is None or bias.const is None:
        inputs, targets = inputs[:, :-1, :-1], targets[:, :-1]
    else:
        shift = bias.const.numpy().astype(np.float64).reshape(layer.groups, 1, -1)
        present = np.concatenate([present, shift], axis=1)
    found = solve(layer, inputs, targets, present)
    if not np.isfinite(found).all():
        return False
    weights = np.ascontiguousarray(found[:, : layer.columns].swapaxes(1, 2))
    layer.weight.const = Constant(layer.weights(weights).astype(constant.numpy().dtype))
    if bias is not None and bias.const is not None:
        numbers = found[:, layer.columns].reshape(bias.const.shape)
        bias.const = Constant(numbers.astype(bias.const.numpy().dtype))
    return True
