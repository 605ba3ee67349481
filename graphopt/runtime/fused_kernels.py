"""What ONNX Runtime makes of a model: the operators of the graph that its own optimizer leaves, without running it.

Meant for a child process, as native code reads the model there.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from graphopt.runtime.optimized_graph import optimized_graph

__all__ = ["WITH_ACTIVATION", "kernel_counts"]

#: Put behind the name of a convolution that has an activation in it.
WITH_ACTIVATION: Final = "+activation"


def kernel_counts(path: str) -> dict[str, int]:
    """How often each operator stands in the graph that ONNX Runtime would run, with all its optimizations on, subgraphs included.

    Args:
        path: a model.

    Raises:
        ExecutionError: if ONNX Runtime does not load it.
    """
    import onnx  # lazily: it is loaded in the child only

    model = optimized_graph(path)
    found: Counter[str] = Counter()
    graphs = [model.graph]
    while graphs:
        for node in graphs.pop().node:
            name = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
            found[name] += 1
            for attribute in node.attribute:
                if attribute.name == "activation" and attribute.s:
                    found[f"{name}{WITH_ACTIVATION}"] += 1
                if attribute.type == onnx.AttributeProto.GRAPH:
                    graphs.append(attribute.g)
                graphs.extend(attribute.graphs)
    return dict(found)
