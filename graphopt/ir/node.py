"""Nodes: one application of an operator, with its place in the order of its graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from graphopt.ir.attributes import Attribute, AttributeKind, AttributeValue, make_attribute
from graphopt.ir.lineage import Lineage
from graphopt.ir.schema import OpSchema, find_schema
from graphopt.ir.value import Value

if TYPE_CHECKING:
    from graphopt.ir.graph import Graph

__all__ = ["Node"]


class Node:
    """An operator applied to values.

    Inputs and outputs are read as sequences and changed through methods only, which keep uses and listeners right.

    Args:
        op_type: operator name, or ``domain::name``.
        inputs: values, ``None`` for an absent optional input.
        outputs: the values it gives (fresh ones), or how many to make.
        attributes: by name.
        domain: operator domain, ``""`` (also for ``ai.onnx``) the default one.
        name: may be empty.

    Attributes:
        op: ``op_type`` in the default domain, ``domain::op_type`` in any other: what rules are indexed by.
        graph: the graph it stands in, ``None`` while detached.
        subgraphs: graphs among its attributes, in order.
        overload: distinguishes functions of one name.
        doc: doc string.
        metadata: metadata properties, ``None`` when there are none.
        origin: what the frontend read this from.
    """

    __slots__ = (
        "__weakref__",
        "_lineage",
        "_next",
        "_prev",
        "attributes",
        "doc",
        "domain",
        "graph",
        "inputs",
        "metadata",
        "name",
        "op",
        "op_type",
        "origin",
        "outputs",
        "overload",
        "subgraphs",
    )

    inputs: Sequence[Value | None]
    outputs: Sequence[Value]
    attributes: Mapping[str, Attribute]

    def __init__(
        self,
        op_type: str,
        inputs: Iterable[Value | None] = (),
        outputs: Iterable[Value] | int = 1,
        attributes: Mapping[str, Attribute] | None = None,
        *,
        domain: str = "",
        name: str = "",
    ) -> None:
        if domain:
            if domain == "ai.onnx":
                domain = ""
        elif "::" in op_type:
            domain, op_type = op_type.rsplit("::", 1)
        self.op_type = op_type
        self.domain = domain
        self.op = f"{domain}::{op_type}" if domain else op_type
        self.name = name
        self.inputs = inputs = list(inputs)
        self.outputs = [Value("") for _ in range(outputs)] if isinstance(outputs, int) else list(outputs)
        self.attributes = {} if attributes is None else attributes
        self.subgraphs: tuple[Graph, ...] = ()
        self.graph: Graph | None = None
        self.overload = ""
        self.doc = ""
        self.metadata: dict[str, str] | None = None
        self.origin: object = None
        self._lineage: Lineage | None = None
        self._prev: Node | None = None
        self._next: Node | None = None
        for index, value in enumerate(self.outputs):
            value.producer = self
            value.index = index
        for index, used in enumerate(inputs):
            if used is not None:
                used._uses[self, index] = None
        if attributes:
            self._find_subgraphs()

    def _find_subgraphs(self) -> None:
        found: list[Graph] = []
        for attribute in self.attributes.values():
            if attribute.kind is AttributeKind.GRAPH and not attribute.ref:
                found.append(cast("Graph", attribute.value))
            elif attribute.kind is AttributeKind.GRAPHS and not attribute.ref:
                found.extend(cast("tuple[Graph, ...]", attribute.value))
        self.subgraphs = tuple(found)
        for graph in found:
            graph.parent = self

    # -- reading ------------------------------------------------------------------------------------------------------------

    @property
    def output(self) -> Value:
        """The first output."""
        return self.outputs[0]

    @property
    def opset(self) -> int | None:
        """Version of its domain that the model imports, ``None`` when it imports none."""
        owner = self.graph.owner if self.graph is not None else None
        return None if owner is None else owner.opset_imports.get(self.domain)

    @property
    def schema(self) -> OpSchema | None:
        """The operator's schema at the model's opset, ``None`` when nobody knows the operator."""
        version = self.opset
        return None if version is None else find_schema(self.domain, self.op_type, version)

    @property
    def attrs(self) -> dict[str, AttributeValue]:
        """The stated attributes as plain values (a new dictionary)."""
        return {name: attribute.value for name, attribute in self.attributes.items()}

    def attr(self, name: str, default: AttributeValue = None) -> AttributeValue:
        """Value of an attribute; when it is not stated ``default``, or else the default of the schema."""
        found = self.attributes.get(name)
        if found is not None:
            return found.value
        if default is not None:
            return default
        schema = self.schema
        return None if schema is None else schema.attribute_default(name)

    def int_attr(self, name: str, default: int | None = None) -> int:
        """An integer attribute, or its default.

        Raises:
            KeyError: if it is neither stated nor has a default.
        """
        found = self.attr(name, default)
        if not isinstance(found, int):
            raise KeyError(f"node {self.name!r} ({self.op}): integer attribute {name!r} is not there")
        return found

    def ints_attr(self, name: str) -> tuple[int, ...] | None:
        """An integer list attribute, ``None`` when it is neither stated nor has a default."""
        found = self.attr(name)
        return cast("tuple[int, ...]", found) if isinstance(found, tuple) else None

    def float_attr(self, name: str, default: float | None = None) -> float:
        """A float attribute, or its default, as ONNX stores it: rounded to float32.

        Raises:
            KeyError: if it is neither stated nor has a default.
        """
        found = self.attr(name, default)
        if not isinstance(found, int | float):
            raise KeyError(f"node {self.name!r} ({self.op}): float attribute {name!r} is not there")
        return float(np.float32(found))

    def str_attr(self, name: str, default: str | None = None) -> str:
        """A text attribute, or its default, else ``""``."""
        found = self.attr(name, default)
        return found if isinstance(found, str) else ""

    def input_at(self, index: int) -> Value | None:
        """An input by position, ``None`` when it is absent or the node has fewer."""
        return self.inputs[index] if index < len(self.inputs) else None

    @property
    def has_references(self) -> bool:
        """Whether an attribute refers to an attribute of the surrounding function."""
        for attribute in self.attributes.values():  # noqa: SIM110 - a loop: most rules ask this of most nodes
            if attribute.ref:
                return True
        return False

    @property
    def lineage(self) -> Lineage:
        """The original nodes that this one came from, named by node name or else by first output."""
        if self._lineage is not None:
            return self._lineage
        return Lineage((self.name or (self.outputs[0].name if self.outputs else self.op),))

    @lineage.setter
    def lineage(self, lineage: Lineage) -> None:
        self._lineage = lineage

    @property
    def has_own_lineage(self) -> bool:
        """Whether a rewrite gave it a lineage (else it is itself an original node)."""
        return self._lineage is not None

    # -- editing ------------------------------------------------------------------------------------------------------------

    def replace_input(self, index: int, value: Value | None) -> None:
        """Read another value (or none) at input ``index``."""
        inputs = cast("list[Value | None]", self.inputs)
        old = inputs[index]
        if old is value:
            return
        if old is not None:
            del old._uses[self, index]
        inputs[index] = value
        if value is not None:
            value._uses[self, index] = None
        graph = self.graph
        if graph is not None:
            graph.touch()
            for listener in graph.listeners:
                listener.input_replaced(self, index, old, value)

    def resize_inputs(self, count: int) -> None:
        """Drop inputs from the end, or add absent ones, until there are ``count``."""
        inputs = cast("list[Value | None]", self.inputs)
        while len(inputs) > count:
            self.replace_input(len(inputs) - 1, None)
            inputs.pop()
        inputs.extend([None] * (count - len(inputs)))
        if self.graph is not None:
            self.graph.touch()

    def drop_output(self, index: int) -> None:
        """Give an optional output no longer: the last one goes, any other stays as an absent one, without a name.

        Raises:
            ValueError: if it is still used.
        """
        outputs = cast("list[Value]", self.outputs)
        value = outputs[index]
        if value.is_used:
            raise ValueError(
                f"output {value.name!r} of node {self.name!r} ({self.op}) can't be dropped: it is still used"
            )
        if index == len(outputs) - 1:
            outputs.pop()
            value.producer = None
        else:
            value.name, value.type, value.declared = "", None, False
        if self.graph is not None:
            self.graph.touch()

    def remove_output(self, index: int) -> None:
        """Give one of a list of outputs (of If, say) no longer; those behind it move up.

        Raises:
            ValueError: if it is still used.
        """
        outputs = cast("list[Value]", self.outputs)
        value = outputs[index]
        if value.is_used:
            raise ValueError(
                f"output {value.name!r} of node {self.name!r} ({self.op}) can't be removed: it is still used"
            )
        del outputs[index]
        value.producer = None
        for place, behind in enumerate(outputs):
            behind.index = place
        if self.graph is not None:
            self.graph.touch()

    def set_attribute(self, name: str, value: object) -> None:
        """State an attribute; ``None`` removes it. Plain values take the kind of the schema.

        Raises:
            ValueError: if the value does not fit the schema.
        """
        attributes = dict(self.attributes)
        if value is None:
            attributes.pop(name, None)
        else:
            schema = self.schema
            spec = None if schema is None else schema.attributes.get(name)
            attributes[name] = make_attribute(value, None if spec is None else spec.kind)
        self.attributes = attributes
        left = self.subgraphs
        self._find_subgraphs()
        for graph in left:
            if graph.parent is self and graph not in self.subgraphs:
                graph.parent = None
        if self.graph is not None:
            self.graph.touch()
            for listener in self.graph.listeners:
                listener.attributes_changed(self)

    def set_op(self, op_type: str, *, domain: str = "") -> None:
        """Make it an application of another operator, with the same inputs, outputs and attributes."""
        self.op_type, self.domain = op_type, "" if domain == "ai.onnx" else domain
        self.op = f"{self.domain}::{op_type}" if self.domain else op_type
        if self.graph is not None:
            self.graph.touch()
            for listener in self.graph.listeners:
                listener.attributes_changed(self)

    def drop_uses(self) -> None:
        """Stop reading all inputs, as an erased node does; the nodes and outputs of its subgraphs too.

        Subgraphs that another node took over meanwhile (a rewrite that gives its attributes to a new node) are left alone.
        """
        todo = [self]
        while todo:
            node = todo.pop()
            for index, value in enumerate(node.inputs):
                if value is not None:
                    value._uses.pop((node, index), None)
            node.inputs = []
            for graph in node.subgraphs:
                if graph.parent is node:
                    while graph.outputs:
                        graph.remove_output(-1)
                    todo.extend(graph.nodes)

    def __repr__(self) -> str:
        given = ", ".join(f"%{value.name}" for value in self.outputs)
        taken = ", ".join("-" if value is None else f"%{value.name}" for value in self.inputs)
        return f"Node({given} = {self.op}({taken}))"
