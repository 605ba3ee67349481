"""What tests of strategies share: a fixed number of examples, the same ones on each run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy
from onnx import GraphProto, NodeProto

from graphopt.testing import GeneratedModel

__all__ = ["drawn", "nodes_of"]

_T = TypeVar("_T")


def drawn(strategy: SearchStrategy[_T], count: int, *, batches: int = 1) -> list[_T]:
    """So many examples of a strategy in each batch; one batch alone has many that are alike."""
    return [item for batch in range(batches) for item in _batch(strategy, count, batch)]


def _batch(strategy: SearchStrategy[_T], count: int, number: int) -> list[_T]:
    found: list[_T] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
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
