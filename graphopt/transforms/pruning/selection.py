"""Which layers a pruning pass works on: by the names of nodes or weights, with patterns, or by operator."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

from graphopt.analysis.dim_groups import DimGroup
from graphopt.errors import PassError
from graphopt.ir import Graph, Model, Node, Value

__all__ = ["Selection"]

_BY_OPERATOR = "op:"


@dataclass(frozen=True, slots=True)
class Selection:
    """Weights to work on.

    Attributes:
        include: only these, all if empty. Each is the name of a weight or of a node that reads it, a pattern of ``*``, ``?`` and
            ``[...]``, or ``op:Conv`` for all nodes of an operator.
        exclude: never these.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()

    def admits(self, weight: Value, nodes: Sequence[Node]) -> bool:
        """Whether a weight that some nodes read is one of them."""
        return (not self.include or _is_any(weight, nodes, self.include)) and not _is_any(weight, nodes, self.exclude)

    def check(self, name: str, graph: Graph, *, found: bool) -> None:
        """Say that nothing was found, if a pass was asked for certain weights and looks at all there are.

        Raises:
            PassError: if ``include`` names no weight of a model without functions.
        """
        owner = graph.owner
        if self.include and not found and isinstance(owner, Model) and not owner.functions:
            raise PassError(
                f"{name}: include is {list(self.include)}, and no weight that can be pruned, nor a node that reads one, has such a "
                "name; graphopt inspect --dim-groups shows names"
            )

    def admits_group(self, group: DimGroup) -> bool:
        """Whether a weight that makes a group is included, and none is excluded."""
        readers = [(member.value, [] if member.node is None else [member.node]) for member in group.producers]
        included = not self.include or any(_is_any(weight, nodes, self.include) for weight, nodes in readers)
        return included and not any(_is_any(weight, nodes, self.exclude) for weight, nodes in readers)


def _is_any(weight: Value, nodes: Sequence[Node], patterns: Sequence[str]) -> bool:
    names = {weight.name, *(node.name or node.outputs[0].name for node in nodes)}
    for pattern in patterns:
        if pattern.startswith(_BY_OPERATOR):
            if any(fnmatch.fnmatchcase(node.op, pattern.removeprefix(_BY_OPERATOR)) for node in nodes):
                return True
        elif pattern in names or any(fnmatch.fnmatchcase(name, pattern) for name in names):
            return True
    return False
