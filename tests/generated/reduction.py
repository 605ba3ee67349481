"""Makes a model that shows a fault smaller, as long as it still shows it: fewer outputs, nodes cut off and fed instead, nothing unused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from onnx import ModelProto, helper

from graphopt.ir import Array
from tests.generated.numbers import dtype_number
from tests.generated.scope import free_names, session

__all__ = ["reduce_model"]

Shows = Callable[[ModelProto, Mapping[str, Array]], bool]


def reduce_model(model: ModelProto, feeds: Mapping[str, Array], shows: Shows) -> tuple[ModelProto, dict[str, Array]]:
    """A smaller model, with inputs, for which ``shows`` still holds."""
    current = (_copy(model), dict(feeds))
    progress = True
    while progress:
        progress = False
        for candidate in _candidates(*current):
            if _size(candidate[0]) < _size(current[0]) and shows(*candidate):
                current, progress = candidate, True
                break
    return current


def _size(model: ModelProto) -> int:
    return int(model.ByteSize()) + 1000 * len(model.graph.node) + 200 * len(model.graph.output)


def _copy(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy


def _candidates(model: ModelProto, feeds: dict[str, Array]) -> Iterator[tuple[ModelProto, dict[str, Array]]]:
    graph = model.graph
    if len(graph.output) > 1:
        for index in range(len(graph.output)):
            smaller = _copy(model)
            kept = smaller.graph.output[index]
            del smaller.graph.output[:]
            smaller.graph.output.append(kept)
            yield _swept(smaller, feeds)
    if graph.value_info:
        smaller = _copy(model)
        del smaller.graph.value_info[:]
        yield smaller, feeds
    if any(node.name for node in graph.node):
        smaller = _copy(model)
        for node in smaller.graph.node:
            node.name = ""
        yield smaller, feeds
    values = _values(model, feeds)
    for index in range(len(graph.node) - 1, -1, -1):
        node = graph.node[index]
        known = {name: values[name] for name in node.output if name in values}
        if len(known) < sum(map(bool, node.output)) or not known:
            continue
        smaller = _copy(model)
        del smaller.graph.node[index]
        outputs = {value.name for value in graph.output}
        if outputs & set(known):
            continue
        smaller.graph.input.extend(
            helper.make_tensor_value_info(name, dtype_number(array), array.shape) for name, array in known.items()
        )
        yield _swept(smaller, {**feeds, **known})
    for index, node in enumerate(graph.node):  # leave a node out: its users read what it reads
        for source in node.input:
            if source and len(node.output) == 1 and node.output[0] not in {value.name for value in graph.output}:
                smaller = _copy(model)
                del smaller.graph.node[index]
                for other in smaller.graph.node:
                    for place, name in enumerate(other.input):
                        if name == node.output[0]:
                            other.input[place] = source
                yield _swept(smaller, feeds)


def _values(model: ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Numbers of all tensors in the main graph."""
    probe = _copy(model)
    names = [name for node in probe.graph.node for name in node.output if name]
    del probe.graph.output[:]
    probe.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    try:
        found = session(probe.SerializeToString()).run(None, dict(feeds))
    except Exception:  # noqa: BLE001 - ONNX Runtime raises a class for each status
        return {}
    return {name: item for name, item in zip(names, found, strict=True) if isinstance(item, np.ndarray)}


def _swept(model: ModelProto, feeds: Mapping[str, Array]) -> tuple[ModelProto, dict[str, Array]]:
    """Without what no output needs."""
    graph = model.graph
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed |= set(node.input)
            for attribute in node.attribute:
                for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                    needed |= free_names(inner)
    nodes = list(reversed(kept))
    del graph.node[:]
    graph.node.extend(nodes)
    for field in (graph.input, graph.initializer):
        left = [item for item in field if item.name in needed]
        del field[:]
        field.extend(left)
    called = {node.op_type for node in graph.node}
    functions = [function for function in model.functions if function.name in called or len(model.functions) > 1]
    del model.functions[:]
    model.functions.extend(functions)
    return model, {name: array for name, array in feeds.items() if name in needed}
