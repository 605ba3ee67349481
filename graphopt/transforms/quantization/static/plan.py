"""The plan of a static quantization: which nodes compute on integers, which values share a scale, and why. Nothing is edited.

Placement follows what a runtime fuses, as its :class:`graphopt.target.QuantizationScheme` tells; no data is needed for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphopt.ir import Constant, Graph, Node, constant_of
from graphopt.target import QuantizationScheme
from graphopt.transforms.quantization.layers import Selection, layer_name
from graphopt.transforms.quantization.static.chains import Chain
from graphopt.transforms.quantization.static.decisions import PlacementDecision
from graphopt.transforms.quantization.static.placement import Placement
from graphopt.transforms.quantization.static.roles import COMPUTING, weight_axis
from graphopt.transforms.quantization.static.sharing import Group, groups_of

__all__ = ["Layer", "StaticPlan", "plan_static"]

#: From this opset on QuantizeLinear has an axis.
_AXIS = 13


@dataclass(frozen=True, slots=True)
class Layer:
    """A node on integers.

    Attributes:
        node: what computes.
        chain: what follows it within the layer.
        integer_output: whether its result is quantized.
        weights: its constant weights, ``None`` for a node without.
        axis: which of their axes has a scale for each channel, ``None`` for one scale for all.
        bias: the node that reads the bias and at which input, ``None`` for none or one that stays floats.
    """

    node: Node
    chain: Chain
    integer_output: bool
    weights: Constant | None = None
    axis: int | None = None
    bias: tuple[Node, int] | None = None


@dataclass(frozen=True, slots=True)
class StaticPlan:
    """What a static quantization is to do.

    Attributes:
        layers: the nodes on integers, in the order of the graph.
        groups: values that share a scale.
        decisions: what becomes of each node of the main graph, and why.
    """

    layers: tuple[Layer, ...]
    groups: tuple[Group, ...]
    decisions: tuple[PlacementDecision, ...]


def plan_static(
    graph: Graph,
    scheme: QuantizationScheme,
    selection: Selection | None = None,
    *,
    refused: Mapping[str, str] | None = None,
) -> StaticPlan:
    """Decide which nodes of a graph compute on integers.

    Args:
        graph: the main graph of a model, with types; its subgraphs stay floats.
        scheme: what the runtime wants.
        selection: the layers to work on, all by default. What stands between layers follows them, unless it is excluded.
        refused: layers that are known to be impossible, with reasons.

    Example:
        >>> from graphopt.ir import DType, GraphBuilder
        >>> import numpy as np
        >>> b = GraphBuilder()
        >>> y = b.MatMul(b.input("x", DType.FLOAT, [2, 3]), np.ones((3, 4), np.float32), name="head")
        >>> y.type = b.output(y, "y", DType.FLOAT, [2, 4]).type
        >>> scheme = QuantizationScheme("chip", static_ops=frozenset({"MatMul"}))
        >>> [(item.layer, item.form) for item in plan_static(b.build().graph, scheme).decisions]
        [('head', 'static')]
    """
    placement = Placement(graph, scheme, selection or Selection(), refused or {})
    per_channel = scheme.per_channel and (graph.opset() or 0) >= _AXIS
    layers = tuple(_layer(node, chain, placement, per_channel=per_channel) for node, chain in placement.in_order())
    decisions = tuple(_decision(node, placement) for node in graph.nodes if node.op != "Constant")
    return StaticPlan(layers, tuple(groups_of(placement)), decisions)


def _layer(node: Node, chain: Chain, placement: Placement, *, per_channel: bool) -> Layer:
    gives = placement.gives_integers(node)
    if node.op not in COMPUTING:
        return Layer(node, chain, gives, axis=0 if per_channel and node.op == "BatchNormalization" else None)
    weights = constant_of(node.input_at(1))
    assert weights is not None, "a layer without constant weights is not on integers"
    axis = weight_axis(node, weights.ndim) if per_channel else None
    bias = chain.bias
    if bias is None and node.op != "MatMul" and node.input_at(2) is not None:
        bias = (node, 2)
    return Layer(node, chain, gives, weights, axis, bias if placement.scheme.integer_biases else None)


def _decision(node: Node, placement: Placement) -> PlacementDecision:
    name = layer_name(node)
    root = placement.absorbed.get(node)
    if root is not None:
        return PlacementDecision(name, node.op, "absorbed", f"part of {layer_name(root)}")
    if node not in placement.integer:
        return PlacementDecision(name, node.op, "float", placement.reasons[node])
    if node.op in COMPUTING:
        kind = "integers" if placement.gives_integers(node) else "floats"
        return PlacementDecision(name, node.op, "static", f"multiplies integers, gives {kind}")
    return PlacementDecision(name, node.op, "static", "stands between integers")
