"""Writes a plan on a graph: marks on nodes, quantizations on values. A constant that is stored in two ways becomes two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from graphopt.ir import Constant, DType, Graph, Node, Quantization, Value, constant_of
from graphopt.target import QuantizationScheme
from graphopt.transforms.quantization.parameters import bias_quantization, fitted_to_bias, weight_quantization
from graphopt.transforms.quantization.static.decisions import FLOAT_OUTPUT, FORM, STATIC
from graphopt.transforms.quantization.static.normalization import convolve
from graphopt.transforms.quantization.static.plan import Layer, StaticPlan
from graphopt.transforms.quantization.static.roles import COMPUTING, data_inputs, data_outputs

__all__ = ["Annotator"]


class Annotator:
    """Writes what was planned.

    Args:
        graph: the main graph.
        scheme: element types of weights.

    Attributes:
        changes: how many nodes, activations, weights and biases got another note.
    """

    def __init__(self, graph: Graph, scheme: QuantizationScheme) -> None:
        self._graph = graph
        self._scheme = scheme
        self._noted: dict[Value, Quantization] = {}
        self._kept: set[Value] = set()
        self.changes: Counter[str] = Counter()

    def carry_out(self, plan: StaticPlan, quantizations: Mapping[Value, Quantization]) -> None:
        """Note a plan; notes of an earlier one that it does not have are taken away.

        Args:
            plan: what is decided.
            quantizations: of each activation and constant operand.
        """
        forms: dict[Node, str] = {}
        for layer in plan.layers:
            form = STATIC if layer.integer_output else FLOAT_OUTPUT
            forms |= dict.fromkeys((layer.node, *layer.chain.absorbed), form)
        for node in self._graph.nodes:
            self._mark(node, forms.get(node, ""))
        for value in self._graph.values():
            if value.quantization is not None and value not in quantizations and constant_of(value) is None:
                value.quantization = None
                self.changes["activations"] += 1
        for layer in plan.layers:
            if layer.node.op == "BatchNormalization":
                convolve(layer.node, self._graph)
                self.changes["convolutions"] += 1
            for position in data_inputs(layer.node):
                read = layer.node.input_at(position)
                if read is not None:
                    self._note(layer.node, position, quantizations[read], "activations")
            for value in (layer.chain.tail, *data_outputs(layer.node)):
                if value in quantizations:
                    self._write(value, quantizations[value], "activations")
            weights = constant_of(layer.node.input_at(1)) if layer.node.op in COMPUTING else None
            if weights is not None:
                self._note_weights(layer, weights)
        for value in self._graph.initializers():
            if value.quantization is not None and value not in self._noted:
                value.quantization = None
                self.changes["weights"] += 1

    def _mark(self, node: Node, form: str) -> None:
        old = (node.metadata or {}).get(FORM, "")
        if old == form:
            return
        metadata = {key: text for key, text in (node.metadata or {}).items() if key != FORM}
        if form:
            metadata[FORM] = form
        node.metadata = metadata or None
        self.changes["nodes"] += 1

    def _note_weights(self, layer: Layer, weights: Constant) -> None:
        array = np.asarray(weights.numpy(), np.float32)
        scheme = self._scheme
        how = weight_quantization(
            array,
            DType[scheme.weight.upper()],
            axis=layer.axis,
            symmetric=scheme.symmetric_weights,
            reduce_range=scheme.reduce_range,
        )
        read = layer.node.inputs[0]
        assert read is not None, "a layer reads something"
        assert read.quantization is not None, "what a layer reads is noted before its weights"
        reader, position = layer.bias or (layer.node, 1)
        if layer.weights is None and self._scheme.integer_biases:
            position = 2  # of a convolution that was a normalization
        bias = constant_of(reader.input_at(position))
        assert bias is not None, "weights and biases are constant"
        if (reader, position) == (
            layer.node,
            1,
        ) or bias.dtype is not DType.FLOAT:  # halves can't hold the scale of a bias
            self._note(layer.node, 1, how, "weights")
            return
        how = fitted_to_bias(how, array, read.quantization, bias.numpy())
        self._note(layer.node, 1, how, "weights")
        self._note(reader, position, bias_quantization(read.quantization, how), "biases")

    def _note(self, node: Node, position: int, how: Quantization, what: str) -> None:
        """Note how an input of a node is stored; a constant that has another note already is copied first."""
        value = node.inputs[position]
        assert value is not None, "a planned input is there"
        constant = constant_of(value)
        if constant is not None and (value.producer is not None or not _agrees(self._noted.get(value, how), how)):
            old, value = value, self._copy(value, constant, how)
            node.replace_input(position, value)
            if old.producer is not None and not old.is_used and old.producer.graph is not None:
                old.producer.graph.erase(old.producer)
        self._write(value, how, what)

    def _copy(self, value: Value, constant: Constant, how: Quantization) -> Value:
        for other in self._graph.initializers():
            if other in self._kept and other.const is constant and _agrees(self._noted[other], how):
                return other
        made = self._graph.add_constant(constant, value.name)
        made.lineage = value.lineage
        self._kept.add(made)
        self.changes["copies"] += 1
        return made

    def _write(self, value: Value, how: Quantization, what: str) -> None:
        self._noted[value] = how
        if value.quantization is None or not _agrees(value.quantization, how):
            value.quantization = how
            self.changes[what] += 1


def _agrees(one: Quantization, other: Quantization) -> bool:
    return (
        (one.dtype, one.axis, one.block) == (other.dtype, other.axis, other.block)
        and one.scale.equals(other.scale)
        and one.zero_point.equals(other.zero_point)
    )
