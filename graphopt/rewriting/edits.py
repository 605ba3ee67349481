"""What each application touched: the nodes that it removed, added and changed, with the names that they have in the original model."""

from __future__ import annotations

from dataclasses import dataclass

from graphopt.ir import Listener, Node, Value
from graphopt.rewriting.applications import Application

__all__ = ["Edit", "EditTrace", "TouchedNode"]


@dataclass(frozen=True, slots=True)
class TouchedNode:
    """A node as it was when an application touched it.

    Attributes:
        name: its name, or that of its first output.
        op: its operator.
        origins: the nodes of the original model that it stands for.
    """

    name: str
    op: str
    origins: tuple[str, ...] = ()

    @classmethod
    def of(cls, node: Node) -> TouchedNode:
        """What is worth saying of a node."""
        output = node.outputs[0] if node.outputs else None
        name = node.name or ("" if output is None else output.name) or node.op
        return cls(name, node.op, node.lineage.names() or (() if output is None else output.lineage.names()))

    def __str__(self) -> str:
        return f"{self.op} {self.name!r}"


@dataclass(frozen=True, slots=True)
class Edit:
    """What one application did to the graph.

    Attributes:
        application: its number, rule and site.
        removed: nodes that are gone.
        added: nodes that are new.
        changed: nodes that stand where they stood and compute something else.
    """

    application: Application
    removed: tuple[TouchedNode, ...] = ()
    added: tuple[TouchedNode, ...] = ()
    changed: tuple[TouchedNode, ...] = ()

    @property
    def origins(self) -> tuple[str, ...]:
        """Names of the original nodes that it touched, each once."""
        touched = (*self.removed, *self.changed, *self.added)
        return tuple(dict.fromkeys(name for node in touched for name in node.origins))


class EditTrace(Listener):
    """Hears of all edits, and puts them down to the application that made them.

    Attributes:
        edits: one for each application so far.

    Args:
        first: number of the first application that is kept; what came before it is forgotten.
    """

    __slots__ = ("_added", "_attributes", "_first", "_inputs", "_removed", "edits")

    def __init__(self, first: int = 1) -> None:
        self._first = first
        self.edits: list[Edit] = []
        self._forget()

    def _forget(self) -> None:
        self._removed: dict[Node, TouchedNode] = {}
        self._added: dict[Node, None] = {}
        self._attributes: dict[Node, None] = {}
        self._inputs: dict[Node, None] = {}

    def applied(self, application: Application) -> None:
        """Note an application: all edits since the one before it are its own."""
        if application.number >= self._first:
            self.edits.append(self.pending(application))
        self._forget()

    def pending(self, application: Application) -> Edit:
        """The edits since the last application, as those of another one."""
        removed, added = self._removed, self._added
        standing = {
            **self._attributes,
            **({} if removed or added else self._inputs),
        }  # users of what was replaced say nothing
        return Edit(
            application,
            tuple(removed.values()),
            tuple(TouchedNode.of(node) for node in added),
            tuple(TouchedNode.of(node) for node in standing if node not in added and node not in removed),
        )

    def node_inserted(self, node: Node) -> None:
        """Note a new node; one that was only moved is not new."""
        if self._removed.pop(node, None) is None:
            self._added[node] = None

    def node_erased(self, node: Node) -> None:
        """Note a node that goes, unless it came with the same application."""
        if node in self._added:
            del self._added[node]
        else:
            self._removed[node] = TouchedNode.of(node)

    def attributes_changed(self, node: Node) -> None:
        """Note a node that computes something else."""
        self._attributes[node] = None

    def input_replaced(self, node: Node, index: int, old: Value | None, new: Value | None) -> None:
        """Note a node that reads something else."""
        self._inputs[node] = None
