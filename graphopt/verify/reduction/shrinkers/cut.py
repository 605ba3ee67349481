"""Cuts subgraphs away: what they gave becomes an input or a constant with the numbers it had, what they took an output."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from graphopt.ir import Constant, DType, Graph, Node, TensorType, Type, Value
from graphopt.runtime.base import Datum
from graphopt.verify.reduction.case import Case, node_key, type_of_data
from graphopt.verify.reduction.chunks import minimize
from graphopt.verify.reduction.editing import detach
from graphopt.verify.reduction.recorder import Recorder
from graphopt.verify.reduction.search import Search

__all__ = ["CutNodes", "CutToConstants", "keep_nodes"]


@dataclass(frozen=True)
class CutNodes:
    """Cut nodes away; values that they gave become inputs, or constants where they follow from constants alone."""

    name: ClassVar[str] = "cut to inputs"

    def shrink(self, search: Search) -> None:
        """Keep as few nodes of the main graph as possible."""
        _cut(search, everything_constant=False)


@dataclass(frozen=True)
class CutToConstants:
    """Cut nodes away; values that they gave become constants. Some failures need constants where the model computes."""

    name: ClassVar[str] = "cut to constants"

    def shrink(self, search: Search) -> None:
        """Keep as few nodes of the main graph as possible."""
        _cut(search, everything_constant=True)


def _cut(search: Search, *, everything_constant: bool) -> None:
    keys = [node_key(node) for node in search.case.model.graph.nodes]
    if len(set(keys)) < len(keys):
        return  # nodes that nothing tells apart

    def holds(kept: list[str]) -> bool:
        make = partial(keep_nodes, search.case, kept, search.recorder, everything_constant=everything_constant)
        return bool(kept) and search.attempt(make(), same_values=True)

    minimize(keys, holds)


def keep_nodes(
    case: Case, kept: Collection[str], recorder: Recorder, *, everything_constant: bool = False
) -> Case | None:
    """A case with some nodes of the main graph only.

    Args:
        case: all nodes.
        kept: keys of those that stay.
        recorder: tells what values were.
        everything_constant: whether all values that are cut become constants, not only those that follow from constants.

    Returns:
        The smaller case; ``None`` when a value that is needed can't be told, or has no type.
    """
    constants = None if everything_constant else _constant_values(case.model.graph)
    candidate = case.copy()
    graph = candidate.model.graph
    wanted = set(kept)
    used = {value for value in graph.values() if value.is_used}
    cut = _take_out(graph, [node for node in graph.nodes if node_key(node) not in wanted])
    needed = [value for value in cut if value.is_used]
    numbers = recorder.values(case, [value.name for value in needed])
    if numbers is None:
        return None
    samples = [dict(feeds) for feeds in candidate.samples]
    for value in needed:
        data = [known[value.name] for known in numbers]
        constant = _constant(data) if constants is None or value.name in constants else None
        if everything_constant and constant is None:
            return None
        if constant is not None:
            value.const, value.type = constant, constant.type
            graph.add_initializer(value)
            continue
        value.type = _best_type(value, data)
        if value.type is None:
            return None
        graph.add_input(value)
        for feeds, item in zip(samples, data, strict=True):
            feeds[value.name] = item
    if not _expose(graph, used, case, recorder):
        return None
    for value in graph.initializers():
        if not value.is_used and not value.is_input and value in used:
            graph.remove_initializer(value)
    for value in list(graph.inputs):
        if not value.is_used and value in used:
            if graph.has_initializer(value):
                graph.remove_initializer(value)
            graph.remove_input(value)
    return candidate.with_samples(tuple(samples)).fitted()


def _take_out(graph: Graph, nodes: list[Node]) -> list[Value]:
    """Erase nodes, and what they give out; the values they gave, without a producer now."""
    gone = set(nodes)
    for index in reversed(range(len(graph.outputs))):
        if graph.outputs[index].producer in gone:
            graph.remove_output(index)
    cut = [detach(value) for node in nodes for value in list(node.outputs) if value.name]
    for node in reversed(nodes):
        graph.erase(node)
    return cut


def _expose(graph: Graph, used: Collection[Value], case: Case, recorder: Recorder) -> bool:
    """Give out what only nodes that are gone read, so that a wrong number still shows; whether each has a type."""
    lost = [value for node in graph.nodes for value in node.outputs if value in used and not value.is_used]
    untyped = [value.name for value in lost if _is_vague(value)]
    numbers = recorder.values(case, untyped) if untyped else []
    for value in lost:
        if _is_vague(value):
            value.type = type_of_data([known[value.name] for known in numbers or []]) or value.type
        if value.type is None:
            return False
        graph.add_output(value)
    return len(graph.outputs) > 0


def _is_vague(value: Value) -> bool:
    """Whether too little is known to state the type of an output."""
    kind = value.type
    return kind is None or (isinstance(kind, TensorType) and (kind.dtype is DType.UNDEFINED or kind.shape is None))


def _best_type(value: Value, data: list[Datum]) -> Type | None:
    known = value.type
    if isinstance(known, TensorType) and (known.shape is None or known.dtype is DType.UNDEFINED):
        return type_of_data(data) or (None if known.dtype is DType.UNDEFINED else known)
    return known if known is not None else type_of_data(data)


def _constant(data: list[Datum]) -> Constant | None:
    """A constant that holds what a value was, if that was the same tensor in all samples."""
    first = data[0] if data else None
    if not isinstance(first, np.ndarray):
        return None
    for other in data[1:]:
        if not isinstance(other, np.ndarray) or other.dtype != first.dtype or other.shape != first.shape:
            return None
        if first.dtype == object and other.tolist() != first.tolist():
            return None
        if first.dtype != object and other.tobytes() != first.tobytes():
            return None
    return Constant(np.array(first))


def _constant_values(graph: Graph) -> set[str]:
    """Names of results that follow from constants alone."""
    found: set[Value] = {value for value in graph.initializers() if value.is_constant}
    names: set[str] = set()
    for node in graph.nodes:
        if not node.subgraphs and all(value is None or value in found for value in node.inputs):
            schema = node.schema
            if schema is None or not schema.deterministic:
                continue
            found.update(node.outputs)
            names.update(value.name for value in node.outputs)
    return names
