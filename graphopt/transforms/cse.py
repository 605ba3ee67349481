"""Common subexpressions: of several nodes that compute the same, one stays.

Nodes are the same when operator, attributes (defaults of the schema filled in), inputs and the outputs that are there are the same.
Small constants count by content, larger ones by identity (``deduplicate-constants`` makes equal ones identical). The two inputs of
an operator that commutes exactly count in either order. A node of a subgraph also gives way to an equal one that stands, in a graph
around it, before the node that holds the subgraph: it is computed at that point in every case. Nodes with subgraphs are compared by
what the subgraphs compute. Random operators, operators without a schema, and Dropout (random while training) are left alone.

Exact; needs no types; one walk, linear in nodes.
"""

from __future__ import annotations

import struct
from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

from graphopt.ir import Attribute, AttributeValue, Constant, Graph, Node, Value
from graphopt.passes import Pass, PassContext, PassResult
from graphopt.rewriting import Rewriter
from graphopt.transforms.purity import Purity

__all__ = ["EliminateCommonSubexpressions"]

#: Operators whose two inputs may be exchanged without changing a bit (NaN payloads apart).
_COMMUTATIVE = frozenset({"Add", "And", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Equal", "Mul", "Or", "Xor"})
#: Copies that cost nothing: putting an Identity in their place gains nothing.
_FREE = frozenset({"Identity", "Constant"})
_SMALL = 1 << 9


@dataclass(frozen=True)
class EliminateCommonSubexpressions(Pass):
    """Compute once what several nodes compute alike. Exact; reads constants below 512 bytes; idempotent."""

    name: ClassVar[str] = "eliminate-common-subexpressions"
    keeps_types: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True
    needs_types: ClassVar[bool] = False

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Look at each node of a graph and its subgraphs once."""
        search = _Search(graph, ctx, self.name)
        search.visit(graph)
        return PassResult(changed=search.merged > 0, stats={"nodes": search.merged} if search.merged else {})


class _Search:
    """One run: the nodes met so far, by what they compute, with the scopes of graphs that are open."""

    def __init__(self, graph: Graph, ctx: PassContext, pass_name: str) -> None:
        self.merged = 0
        self._ctx = ctx
        self._name = pass_name
        self._rewriter = Rewriter(ctx.types)
        self._keys = _Keys(graph)
        self._found: dict[Hashable, list[Node]] = {}

    def visit(self, graph: Graph) -> None:
        """Merge the nodes of a graph; what it made known is forgotten at its end."""
        keys, found = self._keys, self._found
        known: list[Hashable] = []
        for node in graph.nodes:
            for inner in node.subgraphs:
                self.visit(inner)
            key = keys.of(node)
            if key is None:
                continue
            alike = found.get(key)
            if alike is None:
                found[key] = [node]
            elif not any(self._merge(node, other) for other in alike if keys.same_inside(node, other)):
                alike.append(node)
            else:
                continue
            known.append(key)
        for key in reversed(known):
            alike = found[key]
            alike.pop()
            if not alike:
                del found[key]

    def _merge(self, node: Node, other: Node) -> bool:
        """Let everybody read ``other`` instead of ``node``."""
        if node.op in _FREE and any(value.graph_outputs for value in node.outputs):
            return False
        site = node.outputs[0].name
        if not self._ctx.applications.admits(self._name, site):
            return False
        self._rewriter.start(node)
        self._rewriter.finish(
            node, [new if old.is_used else None for old, new in zip(node.outputs, other.outputs, strict=True)]
        )
        self._ctx.applications.record(self._name, site)
        self.merged += 1
        return True


class _Keys:
    """What a node computes, as a hashable value."""

    def __init__(self, graph: Graph) -> None:
        self._purity = Purity(graph)
        self._contents: dict[Value, Hashable] = {}
        self._insides: dict[Node, Hashable | None] = {}

    def of(self, node: Node) -> Hashable | None:
        """Equal for nodes that compute the same (that may, if they have subgraphs); ``None`` for what must stay."""
        if not self._purity.of(node) or not node.outputs:
            return None
        inputs = [value if value is None or value.const is None else self._content(value) for value in node.inputs]
        attributes = self._attributes(node) if node.attributes else ()
        given: Hashable = tuple(inputs)
        if node.op in _COMMUTATIVE and not attributes:  # before opset 7 attributes say how the second input broadcasts
            given = frozenset(inputs)
        scope = node.graph if node.op == "Constant" else None  # small, and best kept where it is read
        return node.op, node.overload, given, _outputs_there(node), attributes, scope

    def same_inside(self, node: Node, other: Node) -> bool:
        """Whether the subgraphs of two nodes with equal keys compute the same."""
        if not node.subgraphs:
            return True
        mine = self._inside(node)
        return mine is not None and mine == self._inside(other)

    def _inside(self, node: Node) -> Hashable | None:
        if node not in self._insides:
            parts: list[Hashable] = []
            places: dict[Value, Hashable] = {}
            whole = all(self._describe(graph, places, parts) for graph in _subgraphs_by_name(node))
            self._insides[node] = tuple(parts) if whole else None
        return self._insides[node]

    def _describe(self, graph: Graph, places: dict[Value, Hashable], parts: list[Hashable]) -> bool:
        """Add what a subgraph computes to ``parts``, inner values by place; false if that must stay."""
        for value in graph.inputs:
            if value.const is not None:
                return False
            places[value] = len(places)
            parts.append(value.type)
        for node in graph.nodes:
            if not self._purity.of(node):
                return False
            inputs = [None if value is None else places.get(value, self._content(value)) for value in node.inputs]
            attributes = self._attributes(node) if node.attributes else ()
            parts.append((node.op, node.overload, tuple(inputs), _outputs_there(node), attributes))
            for inner in _subgraphs_by_name(node):
                if not self._describe(inner, places, parts):
                    return False
            for value in node.outputs:
                places[value] = len(places)
        parts.append(tuple([places.get(value, self._content(value)) for value in graph.outputs]))
        return True

    def _content(self, value: Value) -> Hashable:
        """A small constant by content, any other value by identity."""
        constant = value.const
        if constant is None:
            return value
        key = self._contents.get(value)
        if key is None:
            small = value.is_constant and not constant.is_sparse and constant.dtype.bits and constant.nbytes <= _SMALL
            key = self._contents[value] = constant.digest() if small else value
        return key

    def _attributes(self, node: Node) -> tuple[Hashable, ...]:
        """The attributes that differ from their defaults, by name."""
        schema = node.schema
        specs = {} if schema is None else schema.attributes
        found: list[Hashable] = []
        for name, attribute in sorted(node.attributes.items()):
            spec = specs.get(name)
            content = _attribute_content(attribute)
            if spec is None or spec.default is None or content != _plain_content(spec.default):
                found.append((name, attribute.kind, content))
        return tuple(found)


def _subgraphs_by_name(node: Node) -> list[Graph]:
    """The subgraphs in the order of the names of their attributes: files state them in any order."""
    found: list[Graph] = []
    for _, attribute in sorted(node.attributes.items()):
        items = attribute.value if isinstance(attribute.value, tuple) else (attribute.value,)
        found += [item for item in items if isinstance(item, Graph)]
    return found


def _outputs_there(node: Node) -> Hashable:
    outputs = node.outputs
    return 1 if len(outputs) == 1 else tuple([bool(value.name) or value.is_used for value in outputs])


def _attribute_content(attribute: Attribute) -> Hashable:
    if attribute.ref:
        return "reference", attribute.ref
    return _plain_content(attribute.value)


def _plain_content(value: AttributeValue) -> Hashable:
    """An attribute's value bit for bit; of a subgraph its size only."""
    if isinstance(value, tuple):
        if value and isinstance(value[0], float):
            return struct.pack(f"<{len(value)}d", *value)
        if value and isinstance(value[0], int | str | bytes):
            return value
        return tuple([_plain_content(item) for item in value])
    if isinstance(value, float):
        return struct.pack("<d", value)
    if isinstance(value, Constant):
        return value.is_sparse, value.digest()
    if isinstance(value, Graph):
        return len(value.nodes), len(value.inputs), len(value.outputs)
    return value
