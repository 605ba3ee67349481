"""Graphs: inputs, constants, nodes in an order that survives edits, outputs.

Nodes form a linked list, so inserting and erasing take constant time and an iteration goes on correctly while nodes come and go
around it. Subgraphs (of If, Loop, Scan, SequenceMap) are graphs whose nodes may read values of the graphs around them; such a captured
value is an ordinary input of the node that reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, cast

from graphopt.ir.constant import Array, Constant, TensorData
from graphopt.ir.listener import Listener
from graphopt.ir.node import Node
from graphopt.ir.value import Value

if TYPE_CHECKING:
    import networkx as nx

    from graphopt.ir.model import GraphOwner

__all__ = ["Graph", "NodeList"]


class NodeList:
    """The nodes of a graph in order; safe to edit while iterating, in both directions.

    Nodes inserted beyond the current one are met, erased ones are not. The current one may be erased, or moved to another graph; when
    it is moved within its graph, the iteration goes on from its new place.
    """

    __slots__ = ("_graph",)

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def __iter__(self) -> Iterator[Node]:
        graph = self._graph
        end = graph._sentinel
        node = end._next
        while node is not end:
            assert node is not None  # the list is circular
            before = node._prev
            yield node
            if node.graph is not graph:  # erased or moved away meanwhile: go back to where it stood
                node = self._nearest(node, cast(Node, before), "_prev")
            node = node._next

    def __reversed__(self) -> Iterator[Node]:
        graph = self._graph
        end = graph._sentinel
        node = end._prev
        while node is not end:
            assert node is not None  # the list is circular
            after = node._next
            yield node
            if node.graph is not graph:
                node = self._nearest(node, cast(Node, after), "_next")
            node = node._prev

    def _nearest(self, gone: Node, neighbour: Node, side: str) -> Node:
        """What stands nearest to where ``gone`` stood: erased nodes keep their links, so these lead there."""
        graph, end = self._graph, self._graph._sentinel
        for start in (gone, neighbour):
            node = start
            while node.graph is None and node is not end and getattr(node, side) is not node:
                node = getattr(node, side)
            if node is end or node.graph is graph:
                return node
        raise RuntimeError(
            f"nodes around {gone!r} went to another graph while {graph!r} was iterated; iterate a list of them"
        )

    def __len__(self) -> int:
        return self._graph._count

    def __contains__(self, node: object) -> bool:
        return isinstance(node, Node) and node.graph is self._graph


class Graph:
    """A graph in SSA form.

    Args:
        name: may be empty.
        inputs: values that callers give.
        outputs: values given back.

    Attributes:
        parent: the node whose attribute this graph is, ``None`` for a top graph.
        doc: doc string.
        metadata: metadata properties, ``None`` when there are none.
        origin: what the frontend read this from.
    """

    __slots__ = (
        "__weakref__",
        "_count",
        "_initializers",
        "_inputs",
        "_outputs",
        "_owner",
        "_sentinel",
        "doc",
        "metadata",
        "name",
        "origin",
        "parent",
    )

    def __init__(self, name: str = "", inputs: Iterable[Value] = (), outputs: Iterable[Value] = ()) -> None:
        self.name = name
        self.parent: Node | None = None
        self.doc = ""
        self.metadata: dict[str, str] | None = None
        self.origin: object = None
        self._owner: GraphOwner | None = None
        self._inputs: list[Value] = []
        self._outputs: list[Value] = []
        self._initializers: dict[Value, None] = {}
        self._count = 0
        self._sentinel = Node("")
        self._sentinel._prev = self._sentinel._next = self._sentinel
        for value in inputs:
            self.add_input(value)
        for value in outputs:
            self.add_output(value)

    # -- reading ------------------------------------------------------------------------------------------------------------

    @property
    def nodes(self) -> NodeList:
        """The nodes of this graph (not of its subgraphs) in order."""
        return NodeList(self)

    @property
    def inputs(self) -> Sequence[Value]:
        """Values that callers give, in order."""
        return self._inputs

    @property
    def outputs(self) -> Sequence[Value]:
        """Values given back, in order."""
        return self._outputs

    def initializers(self) -> list[Value]:
        """The constants of this graph, in order; those that are inputs too (defaults) among them."""
        return list(self._initializers)

    def has_initializer(self, value: Value) -> bool:
        """Whether a value is a constant of this graph."""
        return value in self._initializers

    @property
    def owner(self) -> GraphOwner | None:
        """The model or function that this graph is in, ``None`` while detached."""
        graph = self
        while graph._owner is None:
            parent = graph.parent
            if parent is None or parent.graph is None:
                return None
            graph = parent.graph
        return graph._owner

    @property
    def root(self) -> Graph:
        """The outermost graph around this one."""
        graph = self
        while graph.parent is not None and graph.parent.graph is not None:
            graph = graph.parent.graph
        return graph

    @property
    def depth(self) -> int:
        """How many graphs are around this one."""
        graph, depth = self, 0
        while graph.parent is not None and graph.parent.graph is not None:
            graph, depth = graph.parent.graph, depth + 1
        return depth

    @property
    def listeners(self) -> Sequence[Listener]:
        """Who hears of edits of this graph."""
        owner = self.owner
        return () if owner is None else owner.listeners

    @property
    def version(self) -> int:
        """A number that grows with each edit of the owner; analyses are cached by it."""
        owner = self.owner
        return 0 if owner is None else owner.version

    def opset(self, domain: str = "") -> int | None:
        """Imported version of a domain, ``None`` when it is not imported."""
        owner = self.owner
        return None if owner is None else owner.opset_imports.get(domain)

    def touch(self) -> None:
        """Note an edit."""
        owner = self.owner
        if owner is not None:
            owner.version += 1

    def walk(self) -> Iterator[Node]:
        """All nodes of this graph and of its subgraphs, each before the nodes inside it; safe to edit while iterating."""
        stack = [iter(self.nodes)]
        while stack:
            for node in stack[-1]:
                yield node
                if node.subgraphs and node.graph is not None:
                    stack.extend(iter(graph.nodes) for graph in reversed(node.subgraphs))
                    break
            else:
                stack.pop()

    def walk_graphs(self) -> Iterator[Graph]:
        """This graph, then all its subgraphs, outer ones first."""
        yield self
        for node in self.walk():
            yield from node.subgraphs

    def values(self) -> Iterator[Value]:
        """Inputs, constants and outputs of nodes of this graph (not of its subgraphs), each once."""
        yield from self._inputs
        yield from (value for value in self._initializers if not value.is_input)
        for node in self.nodes:
            yield from node.outputs

    def to_networkx(self) -> nx.MultiDiGraph:
        """The graph as a networkx multigraph: nodes are :class:`Node` objects, edges carry ``value`` and ``index``."""
        import networkx as nx  # lazily: only this method needs it

        found = nx.MultiDiGraph(name=self.name)
        for node in self.nodes:
            found.add_node(node, op=node.op, name=node.name)
        for node in self.nodes:
            for index, value in enumerate(node.inputs):
                if value is not None and value.producer is not None and value.producer.graph is self:
                    found.add_edge(value.producer, node, value=value, index=index)
        return found

    # -- inputs, outputs, constants -----------------------------------------------------------------------------------------

    def add_input(self, value: Value) -> Value:
        """Make a value an input of this graph."""
        value.graph, value.is_input = self, True
        self._inputs.append(value)
        self.touch()
        return value

    def remove_input(self, value: Value) -> None:
        """Make a value an input no longer; an initializer stays one."""
        self._inputs.remove(value)
        value.is_input = False
        if value not in self._initializers:
            value.graph = None
        self.touch()

    def add_initializer(self, value: Value) -> Value:
        """Make a constant value a constant of this graph."""
        assert value.const is not None, f"{value!r} has no constant data"
        value.graph = self
        self._initializers[value] = None
        self.touch()
        return value

    def add_constant(self, data: Array | TensorData | Constant, name: str = "const") -> Value:
        """A new constant of this graph, under a fresh name made from ``name``."""
        constant = data if isinstance(data, Constant) else Constant(data)
        return self.add_initializer(Value(self.fresh_name(name), constant.type, constant))

    def remove_initializer(self, value: Value) -> None:
        """Take away a constant that nobody reads, or the default of an input."""
        del self._initializers[value]
        if value.is_input:
            value.const = None
        else:
            value.graph = None
        self.touch()

    def add_output(self, value: Value) -> None:
        """Give out a value."""
        self._outputs.append(value)
        value.graph_outputs += 1
        self.touch()

    def set_output(self, index: int, value: Value) -> None:
        """Give out another value at ``index``. The caller sees to its name."""
        old = self._outputs[index]
        if old is value:
            return
        old.graph_outputs -= 1
        self._outputs[index] = value
        value.graph_outputs += 1
        self.touch()
        for listener in self.listeners:
            listener.output_replaced(old, value)

    def remove_output(self, index: int) -> None:
        """Give out a value no longer."""
        self._outputs.pop(index).graph_outputs -= 1
        self.touch()

    def fresh_name(self, base: str) -> str:
        """A name that nothing in the model has, made from ``base``."""
        owner = self.owner
        return base if owner is None else owner.names.fresh(base)

    # -- nodes --------------------------------------------------------------------------------------------------------------

    def append(self, node: Node) -> Node:
        """Add a node at the end."""
        return self._insert(node, cast(Node, self._sentinel._prev))

    def insert_before(self, anchor: Node, node: Node) -> Node:
        """Add a node right before another one of this graph."""
        assert anchor.graph is self, f"{anchor!r} is not in this graph"
        return self._insert(node, cast(Node, anchor._prev))

    def insert_after(self, anchor: Node, node: Node) -> Node:
        """Add a node right after another one of this graph."""
        assert anchor.graph is self, f"{anchor!r} is not in this graph"
        return self._insert(node, anchor)

    def prepend(self, node: Node) -> Node:
        """Add a node at the start."""
        return self._insert(node, self._sentinel)

    def _insert(self, node: Node, before: Node) -> Node:
        assert node.graph is None, f"{node!r} is in a graph already"
        after = cast(Node, before._next)
        node._prev, node._next = before, after
        before._next = after._prev = node
        node.graph = self
        self._count += 1
        owner = self.owner
        if owner is not None:
            owner.version += 1
            for listener in owner.listeners:
                listener.node_inserted(node)
        return node

    def erase(self, node: Node) -> None:
        """Take a node out for good; nothing may read its outputs any more.

        Raises:
            ValueError: if an output is still used.
        """
        for value in node.outputs:
            if value.is_used:
                raise ValueError(f"node {node.name!r} ({node.op}) can't be erased: output {value.name!r} is still used")
        for listener in self.listeners:
            listener.node_erased(node)
        self._unlink(node)
        node.drop_uses()

    def move_before(self, anchor: Node, node: Node) -> None:
        """Move a node of this graph, or of another one, right before ``anchor``."""
        assert node.graph is not None, f"{node!r} is in no graph"
        node.graph._unlink(node)
        self._insert(node, cast(Node, anchor._prev))

    def _unlink(self, node: Node) -> None:
        before, after = cast(Node, node._prev), cast(Node, node._next)
        before._next, after._prev = after, before
        node.graph = None
        self._count -= 1
        self.touch()

    def __repr__(self) -> str:
        return f"Graph({self.name!r}, {self._count} nodes)"


def replace_all_uses(old: Value, new: Value) -> None:
    """Let everybody who reads ``old`` read ``new`` instead; graph outputs are left alone (their names are a promise)."""
    for node, index in list(old._uses):
        node.replace_input(index, new)
