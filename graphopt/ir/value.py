"""Values: what flows between nodes. Each is defined once and knows its users.

A value is a graph input, a constant of a graph, or an output of a node. Its uses are kept in a dictionary, so adding, removing and
counting them takes constant time however many there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from graphopt.ir.constant import Constant
from graphopt.ir.lineage import Lineage
from graphopt.ir.types import DType, Shape, TensorType, Type

if TYPE_CHECKING:
    from graphopt.ir.graph import Graph
    from graphopt.ir.node import Node

__all__ = ["Quantization", "Use", "Value"]


class Use(NamedTuple):
    """One place where a value is read: input ``position`` of ``node``."""

    node: Node
    position: int


@dataclass(frozen=True, slots=True)
class Quantization:
    """How the numbers of a value are stored as integers: ``real = (stored - zero_point) * scale``.

    Attributes:
        dtype: stored element type.
        scale: float32, scalar or [channels]; in blocks of the value's rank, with one scale for each block along ``axis``.
        zero_point: of ``dtype``, the shape of ``scale``.
        axis: channel axis, or the one that is cut into blocks; ``None`` for one scale for all.
        block: numbers that share a scale along ``axis``, 0 for all of a channel.
    """

    dtype: DType
    scale: Constant
    zero_point: Constant
    axis: int | None = None
    block: int = 0


class Value:
    """A value in a graph.

    Attributes:
        name: unique where it is visible.
        type: its type, ``None`` when nothing is known.
        producer: the node that gives it, ``None`` for graph inputs and constants.
        index: which output of the producer it is.
        const: its constant data, also for an input with a default (see :attr:`is_constant`).
        graph: the graph it is an input or a constant of, ``None`` for outputs of nodes and detached values.
        quantization: how it is to be quantized, or ``None``.
        doc: doc string.
        metadata: metadata properties, ``None`` when there are none.
        annotation: quantization annotation of the model file (tensor names by key), or ``None``.
        declared: whether the model file states the type of this value (such statements are kept).
        origin: what the frontend read this from.
    """

    __slots__ = (
        "__weakref__",
        "_lineage",
        "_uses",
        "annotation",
        "const",
        "declared",
        "doc",
        "graph",
        "graph_outputs",
        "index",
        "is_input",
        "metadata",
        "name",
        "origin",
        "producer",
        "quantization",
        "type",
    )

    def __init__(
        self,
        name: str,
        type: Type | None = None,  # noqa: A002 - the word of the field, and the name of the attribute
        const: Constant | None = None,
    ) -> None:
        self.name = name
        self.type = type
        self.producer: Node | None = None
        self.index = 0
        self.const = const
        self.graph: Graph | None = None
        self.is_input = False
        #: How often the value is an output of its graph.
        self.graph_outputs = 0
        self.quantization: Quantization | None = None
        self.doc = ""
        self.metadata: dict[str, str] | None = None
        self.annotation: dict[str, str] | None = None
        self.declared = False
        self.origin: object = None
        self._uses: dict[tuple[Node, int], None] = {}
        self._lineage: Lineage | None = None

    # -- what it is ---------------------------------------------------------------------------------------------------------

    @property
    def is_constant(self) -> bool:
        """Whether its numbers are known and no caller can change them.

        An initializer that is also a graph input is a default that callers may override, except before IR version 4, where
        initializers had to be listed as inputs.
        """
        if self.const is None:
            return False
        if not self.is_input:
            return True
        owner = self.graph.owner if self.graph is not None else None
        return owner is not None and not owner.initializers_can_be_overridden

    @property
    def is_graph_output(self) -> bool:
        """Whether it is an output of its graph."""
        return self.graph_outputs > 0

    @property
    def home(self) -> Graph | None:
        """The graph in which the value is defined, ``None`` while it is detached."""
        return self.graph if self.producer is None else self.producer.graph

    @property
    def dtype(self) -> DType | None:
        """Element type of a tensor, ``None`` when unknown or no tensor."""
        found = self.type
        return found.dtype if type(found) is TensorType and found.dtype != DType.UNDEFINED else None

    @property
    def shape(self) -> Shape | None:
        """Shape of a tensor, ``None`` when the rank is unknown."""
        found = self.type
        return found.shape if type(found) is TensorType else None

    @property
    def rank(self) -> int | None:
        """Number of axes, ``None`` when unknown."""
        found = self.shape
        return None if found is None else len(found)

    @property
    def lineage(self) -> Lineage:
        """The names of the original values that this one stands for."""
        return self._lineage if self._lineage is not None else Lineage((self.name,))

    @lineage.setter
    def lineage(self, lineage: Lineage) -> None:
        self._lineage = lineage

    # -- who reads it -------------------------------------------------------------------------------------------------------

    @property
    def uses(self) -> Iterator[Use]:
        """Each place where a node reads it, in subgraphs too; a snapshot, safe while editing."""
        return iter([Use(node, index) for node, index in self._uses])

    @property
    def users(self) -> list[Node]:
        """The nodes that read it, each once, in the order in which they started to."""
        return list(dict.fromkeys([node for node, _ in self._uses]))

    @property
    def use_count(self) -> int:
        """Number of node inputs that read it (graph outputs don't count)."""
        return len(self._uses)

    @property
    def is_used(self) -> bool:
        """Whether a node or a graph output needs it."""
        return bool(self._uses) or self.graph_outputs > 0

    @property
    def has_single_use(self) -> bool:
        """Whether exactly one node input reads it and no graph gives it out."""
        return len(self._uses) == 1 and self.graph_outputs == 0

    def array(self) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None:
        """The numbers of a constant, ``None`` for anything else."""
        return self.const.numpy() if self.is_constant and self.const is not None else None

    def __repr__(self) -> str:
        return f"Value(%{self.name}: {self.type})"
