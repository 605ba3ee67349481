"""The only editor of graphs: makes nodes and constants, replaces values, erases what nobody needs any more.

It keeps names of graph outputs, hands names and types on to what replaces a value, merges lineage, and counts what it does. Node types
of new values come from a :class:`TypeInference` that the caller brings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from graphopt.ir import (
    Array,
    Attribute,
    Constant,
    Graph,
    Lineage,
    Node,
    TensorData,
    Type,
    Value,
    coerce_attributes,
    find_schema,
)
from graphopt.rewriting.learned_types import TypeInference, is_complete, join_types, learn_types

__all__ = ["Rewriter"]

#: Above any version of any domain.
_NEWEST = 1 << 20


class Rewriter:
    """Edits the graph around a root node.

    Args:
        inference: finds types of new values; without one they stay unknown unless they replace a value whose type is known.

    Attributes:
        root: the node at which a rule is being applied.
        events: how often each kind of edit happened.
        matched: the nodes that the rule's pattern matched, whose lineage goes to what replaces them.
        memo: kept for the run of a pass; rules may store what they worked out, under keys of their own.
        type_epoch: grows whenever the type of a value became better known, which may make old answers in ``memo`` poor.
    """

    def __init__(self, inference: TypeInference | None = None) -> None:
        self._inference = inference
        self._root: Node | None = None
        self._graph: Graph | None = None
        self._fresh: list[Node] = []
        self._fresh_constants: list[Value] = []
        self._imported: list[str] = []
        self._edited = False
        self._committed = False
        self.matched: Sequence[Node] = ()
        self.events: Counter[str] = Counter()
        self.memo: dict[object, object] = {}
        self.type_epoch = 0
        self._retype: list[Node] = []
        self._learned = False

    # -- around an application, called by the driver ----------------------------------------------------------------------------

    @property
    def root(self) -> Node:
        """The node at which a rule is being applied."""
        assert self._root is not None, "no rule is being applied"
        return self._root

    @property
    def graph(self) -> Graph:
        """The graph that the root stands (or stood) in."""
        assert self._graph is not None, "no rule is being applied"
        return self._graph

    @property
    def edited(self) -> bool:
        """Whether anything was edited since :meth:`start`."""
        return self._edited

    @property
    def committed(self) -> bool:
        """Whether something was edited since :meth:`start` that can't be taken back: anything but new nodes and constants."""
        return self._committed

    def start(self, root: Node) -> None:
        """Begin an application at ``root``."""
        self._root = root
        self._graph = root.graph
        self.matched = ()
        if self._edited:
            self._edited = self._committed = False
            self._fresh = []
            self._fresh_constants = []
            self._imported = []

    def abandon(self) -> None:
        """Take back nodes and constants that a rule made before it found that it does not apply."""
        for node in reversed(self._fresh):
            if node.graph is not None and not any(value.is_used for value in node.outputs):
                self._erase(node)
        self._fresh = []
        for value in self._fresh_constants:
            if not value.is_used:
                self._drop_constant(value)
        owner = self.graph.owner
        for domain in self._imported:
            if owner is not None:
                owner.opset_imports.pop(domain, None)

    # -- new things -----------------------------------------------------------------------------------------------------------

    def new(
        self,
        op: str,
        *inputs: Value | Array | None,
        name: str = "",
        **attributes: object,
    ) -> Value:
        """First output of a new node, which stands right before the root.

        Args:
            op: operator, ``"Conv"`` or ``"domain::Name"``.
            inputs: values; arrays become constants; ``None`` for an absent input. Absent inputs at the end are left out.
            name: node name; made from the root's by default.
            attributes: plain values (or :class:`Attribute`), with the kinds of the schema; ``None`` leaves one out.

        Raises:
            ValueError: if the schema has no such attribute or a value does not fit it.
        """
        return self.new_node(op, inputs, attributes=attributes, name=name).outputs[0]

    def new_node(
        self,
        op: str,
        inputs: Iterable[Value | Array | None],
        *,
        outputs: int = 1,
        attributes: dict[str, object] | None = None,
        name: str = "",
    ) -> Node:
        """A new node with any number of outputs; otherwise as :meth:`new`. A domain that is not imported yet is from now on."""
        graph, root = self.graph, self.root
        given = [item if item is None or isinstance(item, Value) else self.constant(item) for item in inputs]
        while given and given[-1] is None:
            given.pop()
        domain, _, op_type = op.rpartition("::")
        version = graph.opset(domain) or self._import(domain, op_type)
        schema = None if version is None else find_schema(domain, op_type, version)
        typed: dict[str, Attribute] = coerce_attributes(schema, attributes) if attributes else {}
        node = Node(op_type, given, outputs, typed, domain=domain, name=name)
        node.lineage = root.lineage
        for value in node.outputs:
            value.lineage = Lineage()
        graph.insert_before(root, node)
        self._fresh.append(node)
        self._note("inserted")
        return node

    def _import(self, domain: str, op_type: str) -> int | None:
        """Import a domain at the newest version that changed the operator, 1 when nobody knows the operator."""
        owner = self.graph.owner
        if owner is None or not domain:
            return None
        schema = find_schema(domain, op_type, _NEWEST)
        owner.opset_imports[domain] = version = 1 if schema is None else schema.since_version
        self._imported.append(domain)
        return version

    def constant(self, data: Array | np.generic | TensorData | Constant, name: str = "") -> Value:
        """A new constant of the root's graph."""
        made = (
            data if isinstance(data, Constant) else Constant(np.asarray(data) if isinstance(data, np.generic) else data)
        )
        base = name or f"{self.root.name or self.root.output.name}_const"
        self._note("constants")
        value = self.graph.add_constant(made, base)
        self._fresh_constants.append(value)
        return value

    def type_of(self, value: Value) -> Type | None:
        """Type of a value, inferred on the spot for a new one."""
        if value.type is None and value.producer is not None:
            self._infer(value.producer)
        return value.type

    # -- edits ----------------------------------------------------------------------------------------------------------------

    def put_behind(self, value: Value, node: Node) -> None:
        """Move a new node from before the root to right behind what gives ``value``, so that all who read that may read the node.

        What else it reads must be constant, or stand there already.
        """
        graph, producer = self.graph, value.producer
        inside = producer is not None and producer.graph is graph
        anchor = producer._next if producer is not None and inside else next(iter(graph.nodes))
        assert anchor is not None, "the nodes of a graph are linked in a circle"
        if anchor is not node:
            graph.move_before(anchor, node)

    def set_attribute(self, node: Node, name: str, value: object) -> None:
        """State an attribute of a node in place (``None`` removes it)."""
        node.set_attribute(name, value)
        self._retype.append(node)
        self._note("changed")
        self._commit(node)

    def set_input(self, node: Node, index: int, value: Value | None) -> None:
        """Let a node read another value, in place; what it read goes when nobody else needs it."""
        old = node.input_at(index)
        if index >= len(node.inputs):
            node.resize_inputs(index + 1)
        node.replace_input(index, value)
        self._retype.append(node)
        self._note("changed")
        self._commit(node)
        if old is not None:
            self._erase_unused(old)

    def replace(self, old: Value, new: Value) -> None:
        """Let everybody read ``new`` where they read ``old``; a graph output keeps its name.

        A fresh ``new`` takes over the name of ``old``. Its type is the better known of both, except that of an input, which is a promise.
        """
        if old is new:
            return
        if not new.is_input or new.type is None:
            joined = join_types(new.type, old.type)
            if joined is not new.type:
                new.type = joined
                self._learned = True
                for listener in self.graph.listeners:
                    listener.value_learned(new)
        new.lineage = Lineage.merge((new.lineage, old.lineage))
        fresh = new.producer is not None and not new.name
        if fresh:
            old.name, new.name = self._fresh_name(old.name), old.name
            new.declared, new.doc, new.metadata, new.annotation = old.declared, old.doc, old.metadata, old.annotation
            if new.quantization is None:
                new.quantization = old.quantization
        users = list(old._uses)
        for node, index in users:
            node.replace_input(index, new)
        if new.const is not None:  # whose numbers may tell its users' shapes
            self._retype.extend([node for node, _index in users])
        if old.graph_outputs:
            self._replace_graph_output(old, new, fresh=fresh)
        self._note("replaced")
        self._committed = True

    def _replace_graph_output(self, old: Value, new: Value, *, fresh: bool) -> None:
        graph = old.home
        assert graph is not None, "a graph output is at home in a graph"
        if not fresh:
            movable = new.producer is not None and new.home is graph and not new.graph_outputs
            if movable:  # swap the names: the promised one goes with the output
                new.name, old.name = old.name, new.name
                new.declared = new.declared or old.declared
            else:  # an input, a constant, a captured value or another output can't be renamed
                anchor = old.producer
                assert anchor is not None, "an output that is replaced has a producer"
                copy = Node("Identity", [new], 1)
                copy.lineage = old.lineage
                copy.output.type = new.type
                graph.insert_before(anchor, copy)
                copy.output.name, old.name = old.name, self._fresh_name(old.name)
                copy.output.declared = old.declared
                new = copy.output
                copy.name = self._fresh_name(f"{copy.output.name}_identity")
        new.origin = old.origin if new.origin is None else new.origin
        for index, value in enumerate(graph.outputs):
            if value is old:
                graph.set_output(index, new)

    def erase_if_unused(self, node: Node) -> bool:
        """Erase a node, and then whatever only it needed, unless somebody reads an output. Says whether it did."""
        if node.graph is None or any(value.is_used for value in node.outputs):
            return False
        self._erase(node)
        return True

    def note_learned(self) -> None:
        """Begin an epoch of types if some became better known in the last one."""
        if self._learned:
            self._learned = False
            self.type_epoch += 1

    # -- finishing ------------------------------------------------------------------------------------------------------------

    def finish(self, root: Node, replacements: Sequence[Value | None]) -> None:
        """Put ``replacements`` where the outputs of ``root`` were, erase what died, infer types of new values."""
        lineage = Lineage.merge([root.lineage, *(node.lineage for node in self.matched)])
        name = root.name
        for node in self._fresh:
            node.lineage = lineage
        for old, new in zip(root.outputs, replacements, strict=True):
            if new is not None:
                self.replace(old, new)
        if not any(value.is_used for value in root.outputs):
            self._erase(root)
        self._settle(name)

    def settle(self) -> None:
        """Name and type new nodes after edits in place."""
        self._settle(self.root.name if self._root is not None else "")

    def _settle(self, name: str) -> None:
        last = len(self._fresh) - 1
        for index, node in enumerate(self._fresh):
            if node.graph is None:
                continue
            if not any(value.is_used for value in node.outputs):
                self._erase(node)
                continue
            if not node.name and name:
                node.name = name if index == last else self._fresh_name(f"{name}_{node.op_type}")
            for value in node.outputs:
                if not value.name:
                    value.name = self._fresh_name(f"{node.name or node.op_type}_output")
            if any(value.type is None for value in node.outputs):
                self._infer(node)
            elif not all(is_complete(value.type) for value in node.outputs):
                self._retype.append(node)
        self._fresh = []
        if self._retype and self._inference is not None:
            self._learned |= bool(learn_types(self._inference, self._retype))
        self._retype = []

    def _infer(self, node: Node) -> None:
        for value in node.inputs:
            if (
                value is not None
                and value.type is None
                and value.producer is not None
                and value.producer in self._fresh
            ):
                self._infer(value.producer)
        if self._inference is None:
            return
        for value, found in zip(node.outputs, self._inference.infer_node(node), strict=False):
            if value.type is None:
                value.type = found

    def _erase(self, node: Node) -> None:
        todo = [node]
        while todo:
            node = todo.pop()
            graph = node.graph
            if graph is None or any(value.is_used for value in node.outputs):
                continue
            inputs = [value for value in node.inputs if value is not None]
            for inner in node.subgraphs:
                for captured in inner.walk():
                    inputs.extend(value for value in captured.inputs if value is not None)
            graph.erase(node)
            self._note("erased")
            for value in dict.fromkeys(inputs):
                if not value.is_used:
                    if value.producer is not None:
                        todo.append(value.producer)
                    else:
                        self._drop_constant(value)

    def _erase_unused(self, value: Value) -> None:
        if value.is_used:
            return
        if value.producer is not None:
            self._erase(value.producer)
        else:
            self._drop_constant(value)

    @staticmethod
    def _drop_constant(value: Value) -> None:
        graph = value.graph
        if graph is not None and graph.has_initializer(value) and not value.is_input:  # inputs are a promise
            graph.remove_initializer(value)

    def _fresh_name(self, base: str) -> str:
        return self.graph.fresh_name(base)

    def _note(self, event: str) -> None:
        self.events[event] += 1
        self._edited = True

    def _commit(self, node: Node) -> None:
        if node not in self._fresh:
            self._committed = True
