"""What passes found out about a model, kept for later runs on models that are equal to it."""

from __future__ import annotations

from typing import Any

from graphopt.ir import Graph, Model, structural_hash

__all__ = ["Memory"]


class Memory:
    """Answers by model and question. Whoever runs many pipelines on copies of a model shares one, for the same data.

    Example:
        >>> memory, graph = Memory(), Graph("g")
        >>> memory.about(graph)["size"] = 3
        >>> memory.about(Graph("g"))
        {'size': 3}
    """

    def __init__(self) -> None:
        self._models: dict[bytes, dict[object, Any]] = {}

    def about(self, graph: Graph) -> dict[object, Any]:
        """Answers about the model that a graph is of, as it is now, names and weights included; new ones are put there.

        Args:
            graph: any graph of a model.
        """
        owner = graph.root.owner
        subject = owner if isinstance(owner, Model) else graph.root
        return self._models.setdefault(structural_hash(subject, names=True), {})
