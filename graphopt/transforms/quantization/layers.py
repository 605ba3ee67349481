"""Which layers a pass is to work on: by the names of nodes, with patterns, or by operator."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from graphopt.ir import Node

__all__ = ["Selection", "layer_name"]

_BY_OPERATOR: Final = "op:"


def layer_name(node: Node) -> str:
    """What a node is called in options and reports: its name, or that of its first output where it has none."""
    return node.name or next((value.name for value in node.outputs if value.name), node.op)


@dataclass(frozen=True, slots=True)
class Selection:
    """Nodes to work on.

    Attributes:
        include: only these, all if empty. Each is a name as :func:`layer_name` gives it, a pattern of ``*``, ``?`` and ``[...]``, or
            ``op:Conv`` for all nodes of an operator.
        exclude: never these.

    Example:
        >>> from graphopt.ir import Node
        >>> Selection(exclude=("/head/*", "op:Gemm")).admits(Node("Conv", name="/stem/conv"))
        True
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()

    def admits(self, node: Node) -> bool:
        """Whether a node is one of them."""
        return (not self.include or _is_any(node, self.include)) and not _is_any(node, self.exclude)


def _is_any(node: Node, patterns: Sequence[str]) -> bool:
    name = layer_name(node)
    for pattern in patterns:
        if pattern.startswith(_BY_OPERATOR):
            if fnmatch.fnmatchcase(node.op, pattern.removeprefix(_BY_OPERATOR)):
                return True
        elif name == pattern or fnmatch.fnmatchcase(name, pattern):
            return True
    return False
