"""Changes the type of floats in a graph: nodes that change, casts between them and those that stay, constants, typed attributes.

A value has the type that its node gives. Whoever needs the other one reads a cast of it: one for each value and type, behind the node, also
for readers in subgraphs; a cast of a cast that only made it wider is read from its source. Constants are changed, not cast. Bodies of If,
Loop and Scan are changed inside; what goes in and out of them keeps its type. Inputs and outputs of the model keep theirs unless the
interface is to change.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from graphopt.ir import Attribute, AttributeKind, Constant, DType, Graph, Lineage, Node, TensorType, Value, constant_of
from graphopt.transforms.quantization.float16.element_types import Typed, changeable
from graphopt.transforms.quantization.float16.narrowing import COMPARING, changed_constant
from graphopt.transforms.quantization.float16.operators import FLEXIBLE

__all__ = ["Conversion"]

#: What ConstantOfShape is filled with where nothing is stated.
_ZERO: Final = Constant(np.zeros(1, np.float32))


@dataclass(slots=True)
class Conversion:
    """One change of a graph, with its subgraphs.

    Attributes:
        graph: a main graph.
        source: type that changes.
        goal: type it changes to.
        kept: nodes that stay as they are.
        interface: whether inputs and outputs of the main graph change too.
        nodes: how many nodes were changed.
        casts: how many casts were made.
    """

    graph: Graph
    source: DType
    goal: DType
    kept: Collection[Node]
    interface: bool = False
    nodes: int = 0
    casts: int = 0
    _cast: dict[tuple[Value, DType], Value] = field(default_factory=dict)
    _constant: dict[tuple[Value, bool], Value] = field(default_factory=dict)
    _retyped: set[Value] = field(default_factory=set)

    def run(self) -> None:
        """Change the graph."""
        nodes = list(self.graph.walk())
        found = {node: changeable(node, self.source, self.goal) for node in nodes}
        typed = {node: places for node, places in found.items() if node not in self.kept}
        if self.interface:
            for value in self.graph.inputs:
                self._change_input(value)
        for node, places in typed.items():
            self._change_outputs(node, places, typed)
        for node in nodes:
            if node.op in FLEXIBLE:
                self._change_inputs(node, frozenset(range(len(node.inputs))) - found[node].inputs, self.source)
            elif node in typed:
                self._change_inputs(node, typed[node].inputs, self._needed(node))
                self._change_inputs(node, frozenset(range(len(node.inputs))) - typed[node].inputs, self.source)
            else:
                self._change_inputs(node, frozenset(range(len(node.inputs))), self.source)
        self._change_graph_outputs()
        self._drop_useless(nodes)
        if self.changed:
            self.graph.touch()

    @property
    def changed(self) -> bool:
        """Whether anything was changed."""
        return bool(self.stats)

    @property
    def stats(self) -> dict[str, int]:
        """Counts for people, of what there is any."""
        counts = {"nodes": self.nodes, "casts": self.casts, "constants": len(self._constant)}
        if self.interface:
            counts["inputs"] = sum(value in self._retyped for value in self.graph.inputs)
        return {name: count for name, count in counts.items() if count}

    # -- what nodes give --------------------------------------------------------------------------------------------------------

    def _retype(self, value: Value) -> None:
        assert isinstance(value.type, TensorType), "only tensors change"
        value.type = TensorType(self.goal, value.type.shape)
        self._retyped.add(value)

    def _change_input(self, value: Value) -> None:
        if value.dtype is self.source:
            if value.const is not None:
                value.const = changed_constant(value.const, self.goal)
            self._retype(value)

    def _change_outputs(self, node: Node, places: Typed, typed: dict[Node, Typed]) -> None:
        """Give a changed node's outputs their new type."""
        if not places.outputs or constant_of(node.outputs[0]) is not None:
            return
        if node.op in ("Cast", "ConstantOfShape") and not self._is_wanted(node.output, typed):
            return
        if node.op == "Cast":
            node.set_attribute("to", int(self.goal))
        elif node.op == "ConstantOfShape":
            stated = node.attributes.get("value")
            value = stated.value if stated is not None and isinstance(stated.value, Constant) else _ZERO
            node.set_attribute("value", Attribute(AttributeKind.TENSOR, changed_constant(value, self.goal)))
        for place in places.outputs:
            self._retype(node.outputs[place])
        self.nodes += 1

    def _is_wanted(self, value: Value, typed: dict[Node, Typed]) -> bool:
        """Whether somebody who reads what may have either type wants the new one."""
        return any(
            user in typed and user.op not in FLEXIBLE and index in typed[user].inputs for user, index in value.uses
        )

    # -- what nodes read --------------------------------------------------------------------------------------------------------

    def _needed(self, node: Node) -> DType:
        """The type in which a changed node reads; one that gives no floats (a comparison) takes what most easily comes."""
        is_free = not any(value in self._retyped for value in node.outputs)
        if is_free and not any(value in self._retyped for value in node.inputs):
            return self.source
        return self.goal

    def _change_inputs(self, node: Node, places: Collection[int], dtype: DType) -> None:
        """Let a node read floats of a type at some places."""
        for index, value in enumerate(list(node.inputs)):
            if index in places and value is not None and self._was_source(value) and value.dtype is not dtype:
                node.replace_input(index, self._as(value, dtype, compared=node.op in COMPARING))

    def _was_source(self, value: Value) -> bool:
        return value in self._retyped or value.dtype is self.source

    def _as(self, value: Value, dtype: DType, *, compared: bool = False) -> Value:
        """A value in a type."""
        constant = constant_of(value)
        if constant is not None and dtype is self.goal:
            return self._changed(value, constant, compared=compared)
        producer = value.producer
        if producer is not None and producer.op == "Cast" and dtype is self.goal:
            origin = producer.inputs[0]
            if origin is not None and origin.dtype is dtype and dtype.bits < self.source.bits:
                return origin
        key = value, dtype
        if key not in self._cast:
            self._cast[key] = self._new_cast(value, dtype)
        return self._cast[key]

    def _changed(self, value: Value, constant: Constant, *, compared: bool) -> Value:
        key = value, compared
        if key not in self._constant:
            home = value.home
            assert home is not None, "a constant is at home in a graph"
            self._constant[key] = made = home.add_constant(
                changed_constant(constant, self.goal, compared=compared), value.name
            )
            made.lineage = value.lineage
        return self._constant[key]

    def _new_cast(self, value: Value, dtype: DType) -> Value:
        """A Cast right behind what gives a value, or at the start of its graph."""
        home, producer = value.home, value.producer
        assert home is not None, "a value that is read is at home in a graph"
        assert isinstance(value.type, TensorType), "only tensors change"
        node = Node("Cast", [value], 1, name=home.fresh_name(f"{value.name}_cast"))
        node.lineage = Lineage((value.name,)) if producer is None else producer.lineage
        node.output.name = home.fresh_name(f"{value.name}_{dtype}")
        node.output.type = TensorType(dtype, value.type.shape)
        node.output.lineage = value.lineage
        if producer is None:
            home.prepend(node)
        else:
            home.insert_after(producer, node)
        node.set_attribute("to", int(dtype))
        self.casts += 1
        return node.output

    # -- what graphs give out ---------------------------------------------------------------------------------------------------

    def _change_graph_outputs(self) -> None:
        for graph in list(self.graph.walk_graphs()):
            wants = self.goal if graph is self.graph and self.interface else self.source
            for index in range(len(graph.outputs)):
                value = graph.outputs[index]
                if self._was_source(value) and value.dtype is not wants:
                    self._give_out(graph, index, value, wants)

    def _give_out(self, graph: Graph, index: int, value: Value, dtype: DType) -> None:
        """Give out a cast of a value under the name that the value had."""
        node = self._new_cast(value, dtype).producer
        assert node is not None, "a node was made"
        made = node.output
        if value.home is graph and value.producer is not None:
            made.name, value.name = value.name, graph.fresh_name(f"{value.name}_{value.dtype}")
            made.declared, made.doc, made.metadata = value.declared, value.doc, value.metadata
            value.declared, value.doc, value.metadata = False, "", None
            made.origin = value.origin
        for place, given in enumerate(list(graph.outputs)):
            if given is value and place >= index:
                graph.set_output(place, made)

    # -- cleaning up ------------------------------------------------------------------------------------------------------------

    def _drop_useless(self, nodes: list[Node]) -> None:
        """Casts that change nothing, and constants that nobody reads any more."""
        for node in nodes:
            value = node.inputs[0] if node.op == "Cast" and node.graph is not None else None
            if value is None or value.dtype is not node.output.dtype or node.output not in self._retyped:
                continue
            for user, index in node.output.uses:
                user.replace_input(index, value)
            if node.graph is not None and not node.output.is_used:
                node.graph.erase(node)
        for old, _compared in self._constant:
            if not old.is_used:
                self._drop_constant(old)

    @staticmethod
    def _drop_constant(value: Value) -> None:
        home = value.home
        if home is None:
            return
        if value.producer is not None:
            home.erase(value.producer)
        elif home.has_initializer(value) and not value.is_input:
            home.remove_initializer(value)
