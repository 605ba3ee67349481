"""Who wants to hear of edits: the interface of listeners, with methods that do nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphopt.ir.node import Node
    from graphopt.ir.value import Value

__all__ = ["Listener"]


class Listener:
    """Hears of each edit of a model's graphs, subgraphs included. Override what matters; keep it fast."""

    __slots__ = ()

    def node_inserted(self, node: Node) -> None:
        """``node`` now stands in a graph."""

    def node_erased(self, node: Node) -> None:
        """``node`` is about to leave its graph; its inputs are still there."""

    def input_replaced(self, node: Node, index: int, old: Value | None, new: Value | None) -> None:
        """Input ``index`` of ``node`` reads ``new`` where it read ``old``."""

    def attributes_changed(self, node: Node) -> None:
        """Operator or attributes of ``node`` changed."""

    def output_replaced(self, old: Value, new: Value) -> None:
        """A graph gives out ``new`` where it gave out ``old``."""

    def value_learned(self, value: Value) -> None:
        """More is known of the type or the numbers of ``value`` than before."""
