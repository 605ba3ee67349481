"""Makes QuantizeLinear and DequantizeLinear nodes for values."""

from __future__ import annotations

from collections import Counter

import numpy as np

from graphopt.ir import (
    Attribute,
    AttributeKind,
    Constant,
    DType,
    Graph,
    Node,
    Quantization,
    TensorType,
    Value,
    constant_of,
)
from graphopt.transforms.quantization.parameters import quantized
from graphopt.transforms.quantization.static.decisions import STATIC, form_of
from graphopt.transforms.quantization.static.hard_sigmoid import added, magnified, spelled
from graphopt.transforms.quantization.static.roles import COMPUTING, data_inputs

__all__ = ["Speller", "quantized_positions"]

#: From this opset on the standard operators take 16-bit integers.
_WIDE_OPSET = 21
_CLIP_WITH_INPUTS = 11
_WIDE = frozenset({DType.INT16, DType.UINT16})


def quantized_positions(node: Node) -> list[int]:
    """The inputs that a node on integers reads as integers: data, weights and bias."""
    found = data_inputs(node)
    return [*found, 1, 2] if node.op in COMPUTING else found


class Speller:
    """Makes pairs for activations, and stored integers for constants.

    Args:
        graph: the main graph.
        wide_domain: a domain whose operators take 16-bit integers at any opset, ``""`` for none.

    Attributes:
        counts: how many pairs, weights were made.
    """

    def __init__(self, graph: Graph, wide_domain: str = "") -> None:
        self._graph = graph
        self._wide_domain = wide_domain
        self._parameters: dict[tuple[int, DType], Value] = {}
        self._stored: dict[Value, Value] = {}
        self._alive: list[Constant] = []
        self.counts: Counter[str] = Counter()

    def spell_activation(self, value: Value, how: Quantization) -> None:
        """Put a pair behind a value, for all who are to read it."""
        everybody = form_of(value.producer) == STATIC
        uses = [use for use in value.uses if everybody or (form_of(use.node) and use.position in data_inputs(use.node))]
        outputs = [at for at, given in enumerate(self._graph.outputs) if given is value] if everybody else []
        if not uses and not outputs:
            return
        store = self._node("QuantizeLinear", value, how, f"{value.name}_quantized", how.dtype)
        load = self._node(
            "DequantizeLinear", store.output, how, f"{value.name}_dequantized", value.dtype or DType.FLOAT
        )
        producer = value.producer
        if producer is None:
            self._graph.prepend(store)
        else:
            self._graph.insert_after(producer, store)
            store.lineage = load.lineage = producer.lineage
        self._graph.insert_after(store, load)
        for node, position in uses:
            if node.op == "HardSigmoid" and form_of(node) and (self._graph.opset() or 0) >= _CLIP_WITH_INPUTS:
                self._spell_hard_sigmoid(node, store.output, how)
            else:
                node.replace_input(position, load.output)
        if not load.output.is_used and not outputs:
            self._graph.erase(load)
        if outputs:
            self._give_out(value, load.output, outputs)
        self.counts["pairs"] += 1

    def _spell_hard_sigmoid(self, node: Node, stored: Value, how: Quantization) -> None:
        larger = magnified(how, node.float_attr("alpha"))
        dtype = node.output.dtype or DType.FLOAT
        load = self._node("DequantizeLinear", stored, larger, f"{node.output.name}_scaled", dtype)
        constant, by = added(node, how.dtype)
        beta = self._graph.add_constant(Constant(constant.numpy().astype(dtype.numpy)), f"{node.output.name}_beta")
        addend = self._stored_constant(beta, constant, by)
        self._graph.remove_initializer(beta)
        for item in (load, addend):
            item.lineage = node.lineage
            self._graph.insert_before(node, item)
        spelled(node, load.output, addend.output, self._graph)

    def spell_constants(self, node: Node) -> None:
        """Let a node on integers read stored integers where it reads constants."""
        for position in quantized_positions(node):
            value = node.input_at(position)
            if value is None or value.quantization is None:
                continue
            constant = constant_of(value)
            if constant is None:
                continue
            if value not in self._stored:
                load = self._stored_constant(value, constant, value.quantization)
                load.lineage = node.lineage
                self._graph.insert_before(node, load)
                self._stored[value] = load.output
                self.counts["constants"] += 1
            node.replace_input(position, self._stored[value])
            if not value.is_used and not value.is_input and self._graph.has_initializer(value):
                self._graph.remove_initializer(value)

    def _stored_constant(self, value: Value, constant: Constant, how: Quantization) -> Node:
        integers = Constant(quantized(constant.numpy(), how, symmetric=_is_symmetric(how)))
        stored = self._graph.add_constant(integers, f"{value.name}_quantized")
        stored.lineage = value.lineage
        return self._node("DequantizeLinear", stored, how, f"{value.name}_dequantized", constant.dtype)

    def _node(self, op: str, value: Value, how: Quantization, name: str, dtype: DType) -> Node:
        opset = self._graph.opset() or 0
        domain = self._wide_domain if how.dtype in _WIDE and opset < _WIDE_OPSET else ""
        if domain and self._graph.owner is not None:
            self._graph.owner.opset_imports.setdefault(domain, 1)
        precision = dtype if op == "DequantizeLinear" else value.dtype or DType.FLOAT
        inputs = [value, self._parameter(how.scale, f"{name}_scale", precision)]
        if how.dtype is not DType.INT32:
            inputs.append(self._parameter(how.zero_point, f"{name}_zero_point", how.dtype))
        attributes = {} if how.axis is None else {"axis": Attribute(AttributeKind.INT, how.axis)}
        output = Value(
            self._graph.fresh_name(name), TensorType(dtype, value.shape) if value.shape is not None else None
        )
        output.lineage = value.lineage
        return Node(op, inputs, [output], attributes, domain=domain, name=self._graph.fresh_name(f"{value.name}_{op}"))

    def _parameter(self, constant: Constant, name: str, dtype: DType) -> Value:
        key = (id(constant), dtype)
        if key not in self._parameters:
            self._alive.append(constant)  # so that no other object gets its number
            array = constant.numpy()
            made = constant if constant.dtype is dtype else Constant(array.astype(dtype.numpy))
            self._parameters[key] = self._graph.add_constant(made, name)
        return self._parameters[key]

    def _give_out(self, value: Value, dequantized: Value, outputs: list[int]) -> None:
        value.name, dequantized.name = self._graph.fresh_name(f"{value.name}_float"), value.name
        dequantized.declared, dequantized.doc, dequantized.metadata = value.declared, value.doc, value.metadata
        dequantized.type, dequantized.origin = value.type, value.origin
        dequantized.lineage = value.lineage
        value.declared, value.doc, value.metadata, value.origin = False, "", None, None
        for index in outputs:
            self._graph.set_output(index, dequantized)


def _is_symmetric(how: Quantization) -> bool:
    return not np.asarray(how.zero_point.numpy()).any() and how.dtype in (DType.INT8, DType.INT4, DType.INT2)
