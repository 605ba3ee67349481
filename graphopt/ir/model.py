"""Models and functions: what owns graphs, the operator sets they mean, and the names in use."""

from __future__ import annotations

from collections.abc import Iterator

from graphopt.ir.attributes import Attribute
from graphopt.ir.graph import Graph
from graphopt.ir.listener import Listener
from graphopt.ir.names import NameScope

__all__ = ["Function", "FunctionKey", "GraphOwner", "Model"]

#: Domain, name and overload of a function.
FunctionKey = tuple[str, str, str]


class GraphOwner:
    """What a graph belongs to.

    Attributes:
        graph: the outermost graph.
        opset_imports: operator set version by domain (``""`` is the default domain), in the order of the file.
        names: the names in use.
        listeners: who hears of edits.
        version: grows with each edit.
        doc: doc string.
        metadata: metadata properties.
        origin: what the frontend read this from.
    """

    def __init__(self, graph: Graph, opset_imports: dict[str, int]) -> None:
        self.graph = graph
        self.opset_imports = opset_imports
        self.names = NameScope()
        self.listeners: list[Listener] = []
        self.version = 0
        self.doc = ""
        self.metadata: dict[str, str] = {}
        self.origin: object = None
        graph._owner = self

    @property
    def initializers_can_be_overridden(self) -> bool:
        """Whether an initializer that is also an input is only a default."""
        return True

    def reserve_names(self) -> None:
        """Note all names that the graph uses now, for a graph that was made by hand."""
        names = self.names
        for graph in self.graph.walk_graphs():
            for value in (*graph.inputs, *graph.initializers()):
                names.reserve(value.name)
            for node in graph.nodes:
                names.reserve(node.name)
                for value in node.outputs:
                    names.reserve(value.name)


class Function(GraphOwner):
    """A function of the model: an operator defined by a graph.

    Attributes:
        domain: domain of the operator.
        name: its name.
        overload: distinguishes functions of one name.
        attribute_names: attributes that callers must state.
        attribute_defaults: attributes with a default.
    """

    def __init__(self, domain: str, name: str, graph: Graph, opset_imports: dict[str, int], overload: str = "") -> None:
        super().__init__(graph, opset_imports)
        self.domain = domain
        self.name = name
        self.overload = overload
        self.attribute_names: list[str] = []
        self.attribute_defaults: dict[str, Attribute] = {}

    @property
    def key(self) -> FunctionKey:
        """Domain, name and overload."""
        return self.domain, self.name, self.overload


class Model(GraphOwner):
    """A whole model: the main graph, its functions, and what the file says about itself.

    Attributes:
        functions: by domain, name and overload, in the order of the file.
        ir_version: version of the ONNX file format.
        producer_name: tool that made the model.
        producer_version: its version.
        domain: the model's own namespace.
        model_version: the model's own version.
        source: path the model was read from, or ``""``.
    """

    def __init__(self, graph: Graph, opset_imports: dict[str, int], ir_version: int = 10) -> None:
        super().__init__(graph, opset_imports)
        self.functions: dict[FunctionKey, Function] = {}
        self.ir_version = ir_version
        self.producer_name = ""
        self.producer_version = ""
        self.domain = ""
        self.model_version = 0
        self.source = ""

    @property
    def initializers_can_be_overridden(self) -> bool:
        """Since IR version 4; before, initializers had to be inputs and are constants all the same."""
        return self.ir_version >= 4

    def owners(self) -> Iterator[GraphOwner]:
        """The model itself, then its functions."""
        yield self
        yield from self.functions.values()

    def graphs(self) -> Iterator[Graph]:
        """All graphs: the main one, its subgraphs, and those of functions."""
        for owner in self.owners():
            yield from owner.graph.walk_graphs()

    @property
    def node_count(self) -> int:
        """Nodes in all graphs of the model."""
        return sum(len(graph.nodes) for graph in self.graphs())

    @property
    def constant_bytes(self) -> int:
        """Bytes of all constants, in initializers and in attributes."""
        from graphopt.ir.constant import Constant  # beside its only use

        total = 0
        for graph in self.graphs():
            total += sum(value.const.nbytes for value in graph.initializers() if value.const is not None)
            for node in graph.nodes:
                for attribute in node.attributes.values():
                    items = attribute.value if isinstance(attribute.value, tuple) else (attribute.value,)
                    total += sum(item.nbytes for item in items if isinstance(item, Constant))
        return total

    def function_of(self, domain: str, op_type: str, overload: str = "") -> Function | None:
        """The function that a node calls, ``None`` when it applies an operator."""
        return self.functions.get((domain, op_type, overload))

    def __repr__(self) -> str:
        return f"Model({self.graph!r}, opsets {self.opset_imports}, {len(self.functions)} functions)"
