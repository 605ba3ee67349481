"""From a graph to layers: each node by its converter, in order."""

from __future__ import annotations

from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.ir import Graph

__all__ = ["lower_graph"]


def lower_graph(e: Emitter, graph: Graph) -> None:
    """Add the layers of each node of a graph; tensors of its inputs are there already.

    Raises:
        UnsupportedOpError: if a node has no converter, or TensorRT refuses what it adds.
    """
    for node in graph.nodes:
        with e.lowering(node):
            found = e.registry.find(node)
            if isinstance(found, str):
                raise e.fail(found)
            outputs = found.convert(e, node)
            for value, tensor in zip(node.outputs, outputs, strict=False):
                if tensor is not None:
                    e.tensors[value] = tensor
