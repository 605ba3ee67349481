"""Whether two graphs or models mean the same: structural equality and hash, and a quick fingerprint against changes.

A graph becomes a sequence of tokens in which values have numbers instead of names, in the order in which they are defined; constants
count by type and bytes wherever they are read, so the order of initializers and their sharing do not matter to what reads them. Equal
sequences are equal graphs; the order of nodes counts. Types of inner values, doc strings, metadata and lineage say nothing about what
is computed and are left out. What a main graph takes and gives has its name and type; subgraphs and functions are called by position.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import cast

from graphopt.ir.attributes import Attribute, AttributeKind
from graphopt.ir.constant import Constant, SparseData
from graphopt.ir.graph import Graph
from graphopt.ir.literals import type_text
from graphopt.ir.model import Function, Model
from graphopt.ir.node import Node
from graphopt.ir.types import DType, Type
from graphopt.ir.value import Value

__all__ = ["fingerprint", "structural_equal", "structural_hash"]

_Key = Callable[[Constant], str]
_SMALL = 1 << 10
#: Types of what shapes, axes and conditions are made of.
_STRUCTURE = frozenset({DType.INT64, DType.BOOL, DType.STRING})


def structural_hash(subject: Model | Graph, *, names: bool = False, weights: bool = True) -> bytes:
    """A SHA-256 that is equal for structurally equal graphs or models, on every machine. Reads all constants once.

    Args:
        subject: a model with its functions, or a graph; values captured from around the graph count by name.
        names: whether names of inner values and nodes count too.
        weights: whether it matters what all constants hold. If not, only those count by content that shapes, axes and conditions are
            made of (int64, booleans, text), the others by type, and neither the types of what the main graph takes and gives nor the
            version of the file format count: a model that was trained on is the same.
    """
    named = _is_named(subject)
    if weights:
        return _digest(_tokens(subject, _by_content, names, named))
    stream = _Stream(_by_type_of_weights, names=names, types=False)
    return _digest(stream.model(subject) if isinstance(subject, Model) else stream.graph(subject, named=named))


def structural_equal(a: Model | Graph, b: Model | Graph, *, names: bool = False) -> bool:
    """Whether two graphs or models are the same up to names of values and nodes and the order of initializers.

    Reads constants only if the rest is equal and they are not the very same objects.

    Args:
        a: a model or a graph.
        b: of the same kind.
        names: whether names of inner values and nodes must be equal too.
    """
    if isinstance(a, Model) != isinstance(b, Model):
        return False
    named = _is_named(a) and _is_named(b)

    def equal(key: _Key) -> bool:
        mine, theirs = (_tokens(subject, key, names, named) for subject in (a, b))
        return all(left == right for left, right in zip_longest(mine, theirs))

    return equal(_by_type) and (equal(_by_identity) or equal(_by_content))


def fingerprint(model: Model) -> bytes:
    """A SHA-256 that changes with anything a pass can change: names, types, constants, order, metadata.

    Large constants count by identity and are not read, so it means something within one process only: take it before and after a
    pass on the same model.
    """
    return _digest(_Stream(_by_identity, names=True, all_details=True).model(model))


def _digest(tokens: Iterator[str]) -> bytes:
    state = hashlib.sha256()
    for token in tokens:
        data = token.encode("utf-8", "surrogatepass")
        state.update(b"%d:" % len(data))
        state.update(data)
    return state.digest()


def _is_named(subject: Model | Graph) -> bool:
    """Whether callers name the inputs and outputs: those of subgraphs and functions they give by position."""
    return isinstance(subject, Model) or (subject.parent is None and not isinstance(subject._owner, Function))


def _tokens(subject: Model | Graph, key: _Key, names: bool, named: bool) -> Iterator[str]:
    stream = _Stream(key, names=names)
    return stream.model(subject) if isinstance(subject, Model) else stream.graph(subject, named=named)


def _by_content(constant: Constant) -> str:
    return constant.digest().hex()


def _by_identity(constant: Constant) -> str:
    if constant.dtype is DType.STRING or (not isinstance(constant.data, SparseData) and constant.nbytes <= _SMALL):
        return _by_content(constant)
    return f"{constant.serial}"


def _by_type_of_weights(constant: Constant) -> str:
    return _by_content(constant) if constant.dtype in _STRUCTURE else _by_type(constant)


def _by_type(constant: Constant) -> str:
    return f"{type_text(constant.type)}{constant.is_sparse}"


class _Stream:
    """Makes the tokens. One object sees one graph or model: it numbers the values that it meets."""

    def __init__(self, key: _Key, *, names: bool, all_details: bool = False, types: bool = True) -> None:
        self.key = key
        self.names = names
        self.types = types
        self.all_details = all_details
        self.numbers: dict[Value, int] = {}

    def model(self, model: Model) -> Iterator[str]:
        yield f"model {model.ir_version if self.types else ''} {sorted(model.opset_imports.items())!r}"
        if self.all_details:
            stated = (model.producer_name, model.producer_version, model.domain, model.model_version, model.doc)
            yield repr((stated, model.metadata, list(model.opset_imports), list(model.functions)))
        for key in sorted(model.functions):
            yield from self.function(model.functions[key])
        yield from self.graph(model.graph, named=True)

    def function(self, function: Function) -> Iterator[str]:
        yield f"function {function.key!r} {sorted(function.opset_imports.items())!r} {function.attribute_names!r}"
        if self.all_details:
            yield repr((function.doc, function.metadata))
        for name in sorted(function.attribute_defaults):
            yield f"{name!r}={self.attribute(function.attribute_defaults[name])}"
        yield from self.graph(function.graph, named=self.all_details)

    def graph(self, graph: Graph, *, named: bool) -> Iterator[str]:
        yield from self.enter(graph, named=named)
        stack = [(graph, iter(graph.nodes), cast("list[Graph]", []))]
        while stack:
            current, nodes, inner = stack[-1]
            if inner:
                nested = inner.pop()
                yield from self.enter(nested, named=self.all_details)
                stack.append((nested, iter(nested.nodes), []))
                continue
            node = next(nodes, None)
            if node is None:
                yield "out " + " ".join([self.use(value) for value in current.outputs])
                if named and current is graph:
                    yield from (self.interface(value) for value in current.outputs)
                stack.pop()
                continue
            yield self.node(node)
            inner.extend(reversed(self.subgraphs(node)))

    def enter(self, graph: Graph, *, named: bool) -> Iterator[str]:
        yield f"graph {len(graph.inputs)} {len(graph.outputs)}"
        if self.all_details:
            yield repr((graph.name, graph.doc, graph.metadata))
        for value in graph.inputs:
            self.numbers[value] = len(self.numbers)
            default = self.key(value.const) if value.const is not None else "-"
            name = self.interface(value) if named else repr(value.name) if self.names else ""
            yield f"in {name} {default}{self.details(value)}"
        constants = [value for value in graph.initializers() if value.const is not None and not value.is_input]
        if self.names or self.all_details:
            found = (f"{value.name!r} {self.use(value)}{self.details(value)}" for value in constants)
        else:
            found = (f"{self.use(value)}{self.details(value)}" for value in constants)
        yield from sorted(found) if not self.all_details else found

    def subgraphs(self, node: Node) -> tuple[Graph, ...]:
        """Subgraphs in the order of the attributes in the token of their node."""
        if self.all_details or len(node.subgraphs) < 2:
            return node.subgraphs
        stated = [node.attributes[name] for name in sorted(node.attributes)]
        graphs = (
            item.value if isinstance(item.value, tuple) else (item.value,) for item in stated if item.kind.is_graph
        )
        return tuple(graph for items in graphs for graph in items if isinstance(graph, Graph))

    def node(self, node: Node) -> str:
        numbers = self.numbers
        parts = [node.op, node.overload, "("]
        for value in node.inputs:
            number = numbers.get(value) if value is not None else None
            parts.append(f"{number}" if number is not None else self.use(value))
        parts.append(")")
        if node.attributes:
            attributes = node.attributes
            order = attributes if self.all_details else sorted(attributes)
            parts.extend([f"{name!r}={self.attribute(attributes[name])}" for name in order])
        if self.names:
            parts.append(repr(node.name))
        if self.all_details and (node.doc or node.metadata or node._lineage):
            parts.append(repr((node.doc, node.metadata, node.lineage.names())))
        for value in node.outputs:
            numbers[value] = len(numbers)
            parts.append("." if value.name or value.is_used else "_")
            if self.names:
                parts.append(repr(value.name))
            parts.append(self.details(value))
        return " ".join(parts)

    def use(self, value: Value | None) -> str:
        if value is None:
            return "_"
        number = self.numbers.get(value)
        if number is not None:
            return str(number)
        if value.const is not None and value.producer is None and not value.is_input:
            name = f" {value.name!r}" if self.names else ""
            return f"c{self.key(value.const)}{name}"
        return f"free {value.name!r}"

    def interface(self, value: Value) -> str:
        return f"{value.name!r} {type_text(value.type)}" if self.types else repr(value.name)

    def details(self, value: Value) -> str:
        how = value.quantization
        text = (
            ""
            if how is None
            else f" q{int(how.dtype)} {self.key(how.scale)} {self.key(how.zero_point)} {how.axis} {how.block}"
        )
        if self.all_details:
            lineage = value._lineage.names() if value._lineage is not None else ()
            stated = (value.declared, value.doc, value.metadata, value.annotation, lineage)
            text += f" {type_text(value.type)} {stated!r}"
        return text

    def attribute(self, attribute: Attribute) -> str:
        kind, value = attribute.kind, attribute.value
        doc = repr(attribute.doc) if self.all_details else ""
        if attribute.ref:
            return f"{int(kind)}@{attribute.ref!r}{doc}"
        if kind is AttributeKind.INT or kind is AttributeKind.INTS or kind is AttributeKind.STRING:
            return f"{int(kind)}{value!r}{doc}"
        items = value if isinstance(value, tuple) else (value,)
        return f"{int(kind)}[{','.join([self.item(item) for item in items])}]{doc}"

    def item(self, item: object) -> str:
        if isinstance(item, float):
            return struct.pack("<d", item).hex()
        if isinstance(item, Constant):
            return self.key(item)
        if isinstance(item, Graph):
            return "graph"  # its tokens follow those of the node
        return repr(item) if item is None or isinstance(item, str | bytes | int) else type_text(cast(Type, item))
