"""One walk forward over a graph that sets the types of its values, subgraphs and calls of functions included.

Subgraphs: what a branch gives out is known outside as far as both branches say the same; what a loop carries is known inside as far as
the body gives back what it was given, which is tried, and tried again with less; symbols that a body made up for its own sizes mean
nothing outside. Functions: a body is walked for each call, with the types, numbers and attributes of that call, and then forgotten.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

from graphopt.analysis.shape_inference.control_flow import BODIES, Bodies, forget_shape
from graphopt.analysis.shape_inference.facts import Facts, ShapeFunction
from graphopt.ir import Function, Graph, Node, Shape, TensorType, Type, Value, fresh_dim
from graphopt.ir.model import FunctionKey

__all__ = ["BROKEN", "NodeRules", "Walk"]

logger = logging.getLogger(__name__)

#: What a shape function raises for a node that is not as its operator demands. Such a model does not run; nothing is said of it.
BROKEN = (KeyError, IndexError, ValueError, TypeError, AttributeError, ZeroDivisionError, OverflowError)
#: Nodes walked more than once for one model: calls in functions and loops in loops may be exponentially many.
_MOST_AGAIN = 200_000


class NodeRules(Protocol):
    """Knows operators that no shape function is for."""

    def knows(self, node: Node) -> bool:
        """Whether there is a rule for the operator of a node."""

    def infer_node(self, node: Node) -> Sequence[Type | None]:
        """One type for each output, ``None`` where nothing can be said."""


class Walk(Bodies):
    """Sets types of values.

    Args:
        table: shape functions by operator.
        facts: what is known around; keeps what it finds.
        rules: for other operators.
        functions: those of the model.
        static: whether each run has inputs of the same sizes, so that stated sizes of inner values hold.
    """

    def __init__(
        self,
        table: Mapping[str, ShapeFunction],
        facts: Facts,
        rules: NodeRules | None,
        functions: Mapping[FunctionKey, Function],
        *,
        static: bool,
    ) -> None:
        self.table = table
        self.values = facts.values
        self.facts = facts
        self.rules = rules
        self.functions = functions
        self.static = static
        self.changed = 0
        self.budget = _MOST_AGAIN
        self._open: set[FunctionKey] = set()

    def walk(self, graph: Graph) -> None:
        """Infer the types of all values that nodes of a graph give."""
        table, facts, functions, inside = self.table, self.facts, self.functions, bool(self._open)
        for node in graph.nodes:
            function = table.get(node.op)
            if function is None or functions or inside:
                found = self._other(node, function)
            else:
                try:
                    found = function(node, facts)
                except BROKEN as err:
                    logger.debug("types of %s: %r", node, err)
                    found = ()
            outputs = node.outputs
            if len(found) != len(outputs):
                found = (*found, *((None,) * len(outputs)))[: len(outputs)]
            for value, type_ in zip(outputs, found, strict=True):
                if value.type is not type_ or type_ is None:
                    self.settle(value, type_, node)

    def _other(self, node: Node, function: ShapeFunction | None) -> Sequence[Type | None]:
        """Types that a node gives which is no plain operator with a shape function."""
        called = self.functions.get((node.domain, node.op_type, node.overload)) if self.functions else None
        if called is not None:
            return self._call(node, called)
        if self._open and node.has_references:
            return ()
        try:
            if function is not None:
                return function(node, self.facts)
            body = BODIES.get(node.op)
            if body is not None:
                return body(self, node)
        except BROKEN as err:
            logger.debug("types of %s: %r", node, err)
            return ()
        for graph in node.subgraphs:
            for value in graph.inputs:
                forget_shape(value)
            self.walk(graph)
        return () if self.rules is None or node.subgraphs else self.rules.infer_node(node)

    def may_try_again(self, graph: Graph) -> bool:
        """Whether the budget allows to walk a body several times."""
        self.budget -= len(graph.nodes)
        return self.budget > 0

    def settle(self, value: Value, found: Type | None, node: Node) -> None:
        """Give a value its type: a symbol for each size that is not known, the stated element type where nothing is."""
        old = value.type
        if not value.name and not value.is_used:
            return
        if type(found) is TensorType:
            shape = found.shape
            if shape is not None and None in shape:
                shape = tuple([fresh_dim() if dim is None else dim for dim in shape])
                found = TensorType(found.dtype, shape)
            if isinstance(old, TensorType) and found.dtype != old.dtype:
                if found.dtype and old.dtype and value.graph_outputs:
                    return  # the file promises another type: no runtime takes such a model
                found = TensorType(found.dtype or old.dtype, shape)
        elif found is None:
            if not isinstance(old, TensorType) or old.shape is None:
                return
            found = TensorType(old.dtype, None if self._has_rule(node) else self._stated(old))
        if found != old:
            value.type = found
            self.changed += 1

    def _type_of(self, value: Value) -> Type | None:
        found = value.type
        return TensorType(found.dtype, self.facts.shape(value)) if isinstance(found, TensorType) else found

    def _stated(self, old: TensorType) -> Shape:
        """What may be believed of a stated shape: its sizes only if no input is dynamic."""
        assert old.shape is not None
        return tuple(dim if self.static and isinstance(dim, int) else fresh_dim() for dim in old.shape)

    def _has_rule(self, node: Node) -> bool:
        """Whether inference knows the operator, so that a statement of the file adds nothing to what it finds."""
        if node.op in self.table or node.op in BODIES:
            return True
        if (node.domain, node.op_type, node.overload) in self.functions:
            return True
        return self.rules is not None and self.rules.knows(node)

    def _call(self, node: Node, function: Function) -> Sequence[Type | None]:
        """Walk the body of a function for one call, and leave it as it was."""
        graph = function.graph
        self.budget -= len(graph.nodes)
        if function.key in self._open or self.budget < 0:
            return ()
        inner = [value for body in graph.walk_graphs() for value in body.values()]
        kept = [(value, value.type) for value in inner]
        stated = {item: item.attributes for item in graph.walk() if item.has_references}
        given = {**function.attribute_defaults, **node.attributes}
        changed = self.changed
        self._open.add(function.key)
        try:
            for value in inner:
                if value.const is None:
                    value.type = None
            for index, formal in enumerate(graph.inputs):
                actual = node.input_at(index)
                formal.type = None if actual is None else self._type_of(actual)
                self.values.assume(formal, self.facts.integers(actual))
            for item, attributes in stated.items():
                bound = {name: given.get(attr.ref) if attr.ref else attr for name, attr in attributes.items()}
                item.attributes = {name: attr for name, attr in bound.items() if attr is not None}
            self.walk(graph)
            return [value.type for value in graph.outputs[: len(node.outputs)]]
        finally:
            self._open.discard(function.key)
            for item, attributes in stated.items():
                item.attributes = attributes
            for value, type_ in kept:
                value.type = type_
            self.values.forget(inner)
            self.changed = changed
