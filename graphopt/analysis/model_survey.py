"""One walk over a model for comparing it with another: its nodes, where each stands, and what finds a node by a name."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeVar

from graphopt.ir import Function, Graph, Model, Node
from graphopt.ir.lineage import LINEAGE_KEY

__all__ = ["ModelSurvey", "label_of", "origins_of"]

_Key = TypeVar("_Key", bound=Hashable)
#: A name with more commas than this is not looked for in a lineage.
_COMMAS = 8


def label_of(node: Node) -> str:
    """How a node is called: by its name, or else by its first output; what lineage calls it too.

    Example:
        >>> label_of(Node("Relu", name="relu_1"))
        'relu_1'
    """
    return node.name or next((value.name for value in node.outputs if value.name), node.op)


def origins_of(node: Node) -> tuple[str, ...]:
    """The original nodes that a rewrite made this one from, from memory or from a file; empty for a node that is itself an original.

    Names that the file joins stay joined: a name may have a comma in it, see :meth:`ModelSurvey.origins`.
    """
    stated = (node.metadata or {}).get(LINEAGE_KEY, "")
    names = node.lineage.names() if node.has_own_lineage else (stated,) if stated else ()
    return () if names == (label_of(node),) else names


class ModelSurvey:
    """The nodes of a model, functions and subgraphs included.

    Args:
        model: it must not change while the survey is in use.

    Attributes:
        model: the model.
        nodes: each before the nodes inside it.
        paths: where a graph is: ``""`` for the main one, ``function NAME`` for a function, ``.../NODE.ATTRIBUTE`` for a subgraph.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.nodes: list[Node] = []
        self.paths: dict[Graph, str] = {}
        self._named: dict[tuple[str, str], Node | None] = {}
        self._giving: dict[tuple[str, str], Node | None] = {}
        self._labelled: dict[str, Node | None] = {}
        for owner in model.owners():
            self.paths[owner.graph] = f"function {_spell(owner)}" if isinstance(owner, Function) else ""
            for node in owner.graph.walk():
                self._note(node)

    def _note(self, node: Node) -> None:
        path = self.path(node)
        self.nodes.append(node)
        if node.name:
            _enter(self._named, (path, node.name), node)
        for value in node.outputs:
            if value.name:
                _enter(self._giving, (path, value.name), node)
        _enter(self._labelled, label_of(node), node)
        for attribute, graph in _subgraphs(node):
            self.paths[graph] = f"{path}/{label_of(node)}.{attribute}".lstrip("/")

    def path(self, node: Node) -> str:
        """Where a node stands."""
        assert node.graph is not None, "nodes of a model are in a graph"
        return self.paths[node.graph]

    def named(self, path: str, name: str) -> Node | None:
        """The one node of a name in the graph at a path, or the one in the whole model."""
        found = self._named.get((path, name)) if name else None
        return found or (self._labelled.get(name) if name else None)

    def giving(self, path: str, name: str) -> Node | None:
        """The node that gives a value in the graph at a path."""
        return self._giving.get((path, name)) if name else None

    def origins(self, names: Iterable[str]) -> list[Node]:
        """The nodes that a lineage names, each once; names that the model does not have are left out."""
        found: dict[Node, None] = {}
        for name in names:
            node = self._labelled.get(name)
            for item in [node] if node is not None else self._split(name):
                found[item] = None
        return list(found)

    def _split(self, joined: str) -> list[Node]:
        """Nodes by names joined with commas, which names themselves may have: the longest name that is known counts."""
        parts, found, start = joined.split(","), [], 0
        while start < len(parts):
            for end in range(min(len(parts), start + _COMMAS), start, -1):
                node = self._labelled.get(",".join(parts[start:end]))
                if node is not None:
                    found.append(node)
                    break
            else:
                end = start + 1
            start = end
        return found


def _enter(table: dict[_Key, Node | None], key: _Key, node: Node) -> None:
    """Note a node; a key that several have leads to none of them."""
    table[key] = node if key not in table else table[key] if table[key] is node else None


def _subgraphs(node: Node) -> list[tuple[str, Graph]]:
    found: list[tuple[str, Graph]] = []
    if not node.subgraphs:
        return found
    for name, attribute in node.attributes.items():
        if attribute.kind.is_graph and not attribute.ref:
            items = attribute.value if isinstance(attribute.value, tuple) else (attribute.value,)
            several = len(items) > 1
            found += [
                (f"{name}[{at}]" if several else name, item) for at, item in enumerate(items) if isinstance(item, Graph)
            ]
    return found


def _spell(function: Function) -> str:
    return "::".join(filter(None, (function.domain, function.name, function.overload)))
