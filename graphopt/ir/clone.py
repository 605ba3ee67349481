"""Deep copies of graphs and models, and the copy of a body to the place where it is called.

A copy has nodes, values and graphs of its own and shares what never changes: constants, types, attributes without subgraphs, lineages,
and what the frontend left for emission. Copying is linear, and nested graphs are worked off from a list, so depth does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from graphopt.errors import ModelError
from graphopt.ir.attributes import Attribute, AttributeKind
from graphopt.ir.collector import collector_paused
from graphopt.ir.graph import Graph
from graphopt.ir.lineage import Lineage
from graphopt.ir.model import Function, GraphOwner, Model
from graphopt.ir.node import Node
from graphopt.ir.value import Value

__all__ = ["clone_graph", "clone_model", "inline_graph"]

#: Gives the copy of a node its attributes; graphs among them may be the originals, they are copied afterwards.
_Attributes = Callable[[Node], Mapping[str, Attribute]]


@collector_paused()
def clone_model(model: Model) -> Model:
    """A deep copy of a model with its functions; listeners stay with the original.

    Raises:
        ModelError: if a node reads a value that is not defined before it; :func:`graphopt.ir.verify` says more.
    """
    copy = Model(_clone_closed(model.graph), dict(model.opset_imports), model.ir_version)
    _copy_owner(model, copy)
    copy.producer_name, copy.producer_version = model.producer_name, model.producer_version
    copy.domain, copy.model_version, copy.source = model.domain, model.model_version, model.source
    for key, function in model.functions.items():
        body = _clone_closed(function.graph)
        twin = Function(function.domain, function.name, body, dict(function.opset_imports), function.overload)
        _copy_owner(function, twin)
        twin.attribute_names = list(function.attribute_names)
        twin.attribute_defaults = dict(function.attribute_defaults)
        copy.functions[key] = twin
    return copy


@collector_paused()
def clone_graph(graph: Graph, value_map: Mapping[Value, Value] | None = None) -> tuple[Graph, dict[Value, Value]]:
    """A deep copy of a graph that belongs to no model yet, and the map from each value inside to its copy.

    Values from around the graph are read by the copy too, or what ``value_map`` has instead of them.

    Args:
        graph: any graph; names are kept.
        value_map: replacements for captured values.

    Raises:
        ModelError: if a node reads a value that is defined after it.
    """
    mapping = dict(value_map or {})
    outside = set(mapping)
    copy = _shell(graph)
    _fill([(graph, copy)], graph, mapping, _keep)
    return copy, {old: new for old, new in mapping.items() if old not in outside}


def inline_graph(
    graph: Graph,
    at: Node,
    value_map: Mapping[Value, Value],
    attributes: Mapping[str, Attribute] | None = None,
) -> dict[Value, Value]:
    """Copy the nodes and constants of a body (a subgraph or a function) to where ``at`` stands, right before it.

    Copies get fresh names. Nodes of a function also get the lineage of the call. ``at`` and the body stay as they are: replace the
    outputs of ``at`` by the values returned, then erase it.

    Args:
        graph: the body.
        at: the node that calls it, in a graph of a model.
        value_map: what stands for each input of the body; one with a default may be left out.
        attributes: of the call, over the defaults of the function, where the body refers to them (``Attribute.ref``); ``None`` to
            leave references alone. A reference to an attribute that is not there is left out.

    Returns:
        The values that stand for ``graph.outputs`` and for all others defined in the body, nested graphs included; an output that the
        body only hands through from around it stands for itself.

    Raises:
        ModelError: if an input of the body has nothing to stand for it, or a node reads a value that is defined after it.
    """
    target = cast(Graph, at.graph)
    mapping = dict(value_map)
    for value in graph.inputs:
        if value not in mapping and value.const is None:
            raise ModelError(
                f"node {at.name!r} ({at.op}): nothing is given for input {value.name!r} of graph {graph.name!r}; pass a value for it"
            )
    called = at.lineage if graph.root is not target.root else None
    bind = _keep if attributes is None else _binder(attributes)
    for value in graph.initializers():
        if value not in mapping:
            mapping[value] = target.add_initializer(_fresh(_clone_value(value), target))
    for node in graph.nodes:
        nested: list[tuple[Graph, Graph]] = []
        copy = _clone_node(node, graph, mapping, nested, bind)
        _fill(nested, graph, mapping, bind)
        for _, inner in nested:
            _rename_inside(inner, target)
        copy.name = target.fresh_name(node.name) if node.name else ""
        copy.lineage = Lineage.merge([called, node.lineage]) if called is not None else node.lineage
        for value in copy.outputs:
            _fresh(value, target)
        target.insert_before(at, copy)
    for value in graph.outputs:
        mapping.setdefault(value, value)
    return mapping


def _clone_closed(graph: Graph) -> Graph:
    """A copy of a graph that reads nothing from around it."""
    copy = _shell(graph)
    _fill([(graph, copy)], None, {}, _keep)
    return copy


def _copy_owner(owner: GraphOwner, copy: GraphOwner) -> None:
    copy.names = owner.names.copy()
    copy.doc, copy.metadata, copy.origin = owner.doc, dict(owner.metadata), owner.origin


def _shell(graph: Graph) -> Graph:
    """A graph without values and nodes, the rest copied."""
    copy = Graph(graph.name)
    copy.doc, copy.origin = graph.doc, graph.origin
    copy.metadata = None if graph.metadata is None else dict(graph.metadata)
    return copy


def _fill(
    todo: list[tuple[Graph, Graph]], region: Graph | None, mapping: dict[Value, Value], bind: _Attributes
) -> None:
    """Copy the contents of graphs into their shells; grows ``todo`` by the graphs inside them."""
    done = 0
    while done < len(todo):
        graph, copy = todo[done]
        done += 1
        for value in graph.inputs:
            mapping[value] = copy.add_input(_clone_value(value))
        for value in graph.initializers():
            mapping[value] = copy.add_initializer(mapping[value] if value.is_input else _clone_value(value))
        for node in graph.nodes:
            copy.append(_clone_node(node, region, mapping, todo, bind))
        for value in graph.outputs:
            copy.add_output(mapping.get(value) or _captured(value, region, "output", graph.name))


def _clone_value(value: Value) -> Value:
    copy = Value(value.name, value.type, value.const)
    copy.quantization = value.quantization
    copy.doc, copy.declared, copy.origin = value.doc, value.declared, value.origin
    copy._lineage = value._lineage
    if value.metadata is not None:
        copy.metadata = dict(value.metadata)
    if value.annotation is not None:
        copy.annotation = dict(value.annotation)
    return copy


def _clone_node(
    node: Node, region: Graph | None, mapping: dict[Value, Value], nested: list[tuple[Graph, Graph]], bind: _Attributes
) -> Node:
    inputs: list[Value | None] = []
    for value in node.inputs:
        if value is None:
            inputs.append(None)
        else:
            inputs.append(mapping.get(value) or _captured(value, region, node.op, node.name))
    outputs = []
    for value in node.outputs:
        mapping[value] = copy = _clone_value(value)
        outputs.append(copy)
    attributes = bind(node)
    if node.subgraphs or (
        attributes is not node.attributes and any(item.kind.is_graph for item in attributes.values())
    ):
        attributes = {name: _with_shells(attribute, nested) for name, attribute in attributes.items()}
    twin = Node(node.op_type, inputs, outputs, attributes, domain=node.domain, name=node.name)
    twin.overload, twin.doc, twin.origin = node.overload, node.doc, node.origin
    twin._lineage = node._lineage
    if node.metadata is not None:
        twin.metadata = dict(node.metadata)
    return twin


def _captured(value: Value, region: Graph | None, what: str, name: str) -> Value:
    """A value from around the copied graphs stands for itself; ``region`` is the outermost of them, ``None`` if nothing is around."""
    home = value.home
    while home is not region:
        if home is None:
            return value
        home = home.parent.graph if home.parent is not None else None
    raise ModelError(
        f"{what} {name!r} reads {value.name!r}, which is not defined before it; sort the nodes, or verify the model"
    )


def _with_shells(attribute: Attribute, nested: list[tuple[Graph, Graph]]) -> Attribute:
    if not attribute.kind.is_graph or attribute.ref:
        return attribute
    graphs = cast("tuple[Graph, ...]", attribute.value if isinstance(attribute.value, tuple) else (attribute.value,))
    shells = tuple(_shell(graph) for graph in graphs)
    nested.extend(zip(graphs, shells, strict=True))
    value = shells[0] if attribute.kind is AttributeKind.GRAPH else shells
    return Attribute(attribute.kind, value, doc=attribute.doc)


def _keep(node: Node) -> Mapping[str, Attribute]:
    return node.attributes


def _binder(stated: Mapping[str, Attribute]) -> _Attributes:
    def bind(node: Node) -> Mapping[str, Attribute]:
        if not node.has_references:
            return node.attributes
        return {
            name: stated[attribute.ref] if attribute.ref else attribute
            for name, attribute in node.attributes.items()
            if not attribute.ref or attribute.ref in stated
        }

    return bind


def _fresh(value: Value, graph: Graph) -> Value:
    if value.name:
        if value._lineage is None:
            value._lineage = Lineage((value.name,))
        value.name = graph.fresh_name(value.name)
    return value


def _rename_inside(graph: Graph, target: Graph) -> None:
    for value in graph.values():
        _fresh(value, target)
    for node in graph.nodes:
        if node.name:
            node.lineage = node.lineage
            node.name = target.fresh_name(node.name)
