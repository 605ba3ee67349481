"""The frontend for onnx-graphsurgeon graphs; the conversion itself is in :mod:`graphopt.serde.graphsurgeon`."""

from __future__ import annotations

from dataclasses import dataclass

from graphopt.errors import ModelError
from graphopt.ir import Model
from graphopt.serde.graphsurgeon import from_graphsurgeon as lift
from graphopt.serde.graphsurgeon import is_graphsurgeon, to_graphsurgeon

__all__ = ["GraphSurgeonFrontend", "is_graphsurgeon", "lift", "to_graphsurgeon"]


@dataclass(frozen=True, slots=True)
class GraphSurgeonFrontend:
    """The frontend for ``gs.Graph``."""

    name: str = "graphsurgeon"

    def accepts(self, source: object) -> bool:
        """Whether this is a ``gs.Graph``."""
        return is_graphsurgeon(source)

    def lift(self, source: object) -> Model:
        """The IR of the graph; see :func:`lift`."""
        if not is_graphsurgeon(source):
            raise ModelError(f"expected a gs.Graph, found {type(source).__name__}; give a graphsurgeon graph")
        return lift(source)
