"""What a pattern found: names bound to values and nodes, with typed access."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from graphopt.ir import Array, AttributeValue, Node, Value
from graphopt.rewriting.nomatch import NoMatch

__all__ = ["Bindings", "Match"]

_T = TypeVar("_T")


class _Mark(NamedTuple):
    bound: int
    seen: int


class Bindings:
    """Names bound so far while a pattern is matched; can go back to an earlier state."""

    __slots__ = ("_trail", "bound", "nodes_seen", "root")

    def __init__(self, root: Node) -> None:
        self.root = root
        self.bound: dict[str, Value | Node | tuple[Value | None, ...]] = {}
        self.nodes_seen: list[Node] = []
        self._trail: list[str] = []

    def bind_value(self, name: str, value: Value) -> NoMatch | None:
        """Bind a name to a value; a name that is bound already must mean the same value."""
        old = self.bound.get(name)
        if old is not None:
            return None if old is value else NoMatch("%r stands for two values", name)
        self.bound[name] = value
        self._trail.append(name)
        return None

    def bind_node(self, name: str, node: Node) -> NoMatch | None:
        """Bind a name to a node."""
        if self.bound.get(name, node) is not node:
            return NoMatch("%r stands for two nodes", name)
        self.bound[name] = node
        self._trail.append(name)
        return None

    def bind_tail(self, name: str, values: Sequence[Value | None]) -> NoMatch | None:
        """Bind a name to the last inputs of a node."""
        self.bound[name] = tuple(values)
        self._trail.append(name)
        return None

    def mark(self) -> _Mark:
        """The present state, for :meth:`undo`."""
        return _Mark(len(self._trail), len(self.nodes_seen))

    def undo(self, mark: _Mark) -> None:
        """Forget what was bound since ``mark``."""
        while len(self._trail) > mark.bound:
            self.bound.pop(self._trail.pop(), None)
        del self.nodes_seen[mark.seen :]


class Match:
    """A piece of graph that a pattern matched.

    Attributes:
        root: the node that the match starts from, whose outputs are replaced.
        nodes: all nodes of the match, the root first.
    """

    __slots__ = ("_bound", "nodes", "root")

    def __init__(self, found: Bindings) -> None:
        self.root = found.root
        self.nodes: tuple[Node, ...] = tuple(found.nodes_seen)
        self._bound = found.bound

    def _get(self, name: str, kind: type[_T]) -> _T:
        found = self._bound.get(name)
        if not isinstance(found, kind):
            known = ", ".join(sorted(self._bound))
            raise KeyError(f"{name!r} is not bound to a {kind.__name__.lower()} in this match; bound: {known}")
        return found

    def value(self, name: str) -> Value:
        """The value bound to a name.

        Raises:
            KeyError: if the name is not bound to a value (an absent optional input: ask :meth:`maybe`).
        """
        return self._get(name, Value)

    __getitem__ = value

    def maybe(self, name: str) -> Value | None:
        """The value bound to a name, ``None`` for an absent optional input."""
        return self._get(name, Value) if name in self._bound else None

    def values(self, name: str) -> tuple[Value | None, ...]:
        """The values bound to the tail of an operator."""
        return self._get(name, tuple)

    def array(self, name: str) -> Array:
        """The numbers of a constant, read-only.

        Raises:
            KeyError: if the name is not bound to a constant.
        """
        found = self._get(name, Value)
        if found.const is None:
            raise KeyError(f"{name!r} is bound to {found.name!r}, which is not constant")
        return found.const.numpy()

    def node(self, name: str) -> Node:
        """The node bound to a name.

        Raises:
            KeyError: if the name is not bound to a node.
        """
        return self._get(name, Node)

    def attr(self, node: str, attribute: str) -> AttributeValue:
        """An attribute of a bound node, the default of the schema filled in."""
        return self.node(node).attr(attribute)

    def __contains__(self, name: str) -> bool:
        return name in self._bound

    def __repr__(self) -> str:
        return f"Match({self.root!r}, {sorted(self._bound)})"
