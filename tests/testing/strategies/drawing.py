"""What tests of strategies share: a fixed number of examples, the same ones on each run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy
from onnx import GraphProto, NodeProto

from graphopt.testing import GeneratedModel

__all__ = ["drawn", "nodes_of"]

_T = TypeVar("_T")


def drawn(strategy: SearchStrategy[_T], count: int) -> list[_T]:
    """So many examples of a strategy."""
    found: list[_T] = []

    @settings(
        max_examples=count,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(item: _T) -> None:
        found.append(item)

    collect()
    return found


def nodes_of(model: GeneratedModel) -> Iterator[NodeProto]:
    """All nodes, those of subgraphs and functions included."""
    for function in model.proto.functions:
        yield from function.node
    graphs: list[GraphProto] = [model.proto.graph]
    while graphs:
        graph = graphs.pop()
        for node in graph.node:
            yield node
            graphs += [item.g for item in node.attribute if item.HasField("g")]
