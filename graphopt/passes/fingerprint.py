"""A number for what a model computes and how: operators, their order, what they read, attributes, constants, names at the border.

Types, names inside, lineage and documentation do not count: a pass may refine or tidy them and still say that it changed nothing.
"""

from __future__ import annotations

import hashlib

from graphopt.ir import Attribute, AttributeValue, Constant, Graph, Model, Value

__all__ = ["model_fingerprint"]


def model_fingerprint(model: Model) -> str:
    """The fingerprint of a model, in linear time; constants are read once and their digests kept.

    Args:
        model: the model, with its functions.
    """
    state = hashlib.blake2b(repr((sorted(model.opset_imports.items()), list(model.functions))).encode(), digest_size=16)
    for owner in model.owners():
        numbers: dict[Value, int] = {}
        graphs = {graph: index for index, graph in enumerate(owner.graph.walk_graphs())}
        for graph in graphs:  # outer graphs first, so that captured values have their number
            for value in graph.values():
                numbers[value] = len(numbers)
        for graph in graphs:
            for line in _lines(graph, numbers, graphs):
                state.update(repr(line).encode())
    return state.hexdigest()


def _lines(graph: Graph, numbers: dict[Value, int], graphs: dict[Graph, int]) -> list[object]:
    lines: list[object] = [
        [value.name for value in graph.inputs],
        [(value.name, numbers[value]) for value in graph.outputs],
        [(numbers[value], value.const.digest()) for value in graph.initializers() if value.const is not None],
    ]
    for node in graph.nodes:
        inputs = [None if value is None else numbers[value] for value in node.inputs]
        attributes = [(name, _attribute(node.attributes[name], graphs)) for name in sorted(node.attributes)]
        lines.append((node.op, node.overload, inputs, len(node.outputs), attributes))
    return lines


def _attribute(attribute: Attribute, graphs: dict[Graph, int]) -> object:
    items = attribute.value if isinstance(attribute.value, tuple) else (attribute.value,)
    return attribute.kind.name, attribute.ref, [_plain(item, graphs) for item in items]


def _plain(item: AttributeValue, graphs: dict[Graph, int]) -> object:
    if isinstance(item, Constant):
        return item.digest()
    if isinstance(item, Graph):
        return graphs[item]
    return item if isinstance(item, int | float | str | bytes | None) else str(item)
