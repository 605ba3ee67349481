"""What of a model can be pruned apart from the rest, and what can't be, with the reason.

For channels a unit is a dim group, or several that one weight makes; for weights it is a tensor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import networkx as nx

from graphopt.analysis.dim_groups import DimGroup, PluginRoles, find_dim_groups
from graphopt.compiler.pruning.amounts import Amount
from graphopt.errors import PruningError
from graphopt.ir import Graph, Node, Value
from graphopt.passes import suggestion
from graphopt.transforms.pruning.magnitude import prunable_weights
from graphopt.transforms.pruning.patterns import n_m_layers
from graphopt.transforms.pruning.selection import Selection

__all__ = ["Frozen", "Prunable", "Unit", "find_units"]

_Named = tuple[Value, Sequence[Node]]


@dataclass(frozen=True)
class Unit:
    """What is pruned as one.

    Attributes:
        name: of the first weight.
        weights: names of the weights that make it, as ``include`` of the passes takes them.
        size: channels, or weights.
    """

    name: str
    weights: tuple[str, ...]
    size: int


@dataclass(frozen=True)
class Frozen:
    """A group of which nothing may go.

    Attributes:
        name: of its first weight.
        size: indices.
        reason: why, and where that was met first.
    """

    name: str
    size: int
    reason: str


@dataclass(frozen=True)
class Prunable:
    """What of a model can be pruned.

    Attributes:
        units: in the order of the graph.
        frozen: groups that stay.
        left_out: units that somebody left out.
    """

    units: tuple[Unit, ...]
    frozen: tuple[Frozen, ...] = ()
    left_out: tuple[str, ...] = ()

    def check(self, amount: Amount) -> None:
        """See that there is anything.

        Raises:
            PruningError: if not, with the reasons.
        """
        if self.units:
            return
        if self.left_out:
            raise PruningError(
                f"all that can be pruned is left out: {', '.join(self.left_out[:3])}; see --include, --exclude"
            )
        if amount.kind == "magnitude":
            raise PruningError("nothing can be pruned: the model has no constant float weights of two axes or more")
        if amount.kind == "n-m":
            raise PruningError(
                f"nothing can be pruned: no Conv, Gemm or MatMul of constant float weights sums over {amount.m} channels or more"
            )
        if not self.frozen:
            raise PruningError("nothing can be pruned: no weights make channels that others read")
        counts: dict[str, int] = {}
        for item in self.frozen:
            counts[item.reason] = counts.get(item.reason, 0) + 1
        told = sorted(counts.items(), key=lambda item: -item[1])
        reasons = ", ".join(f"{count} because {why}" for why, count in told[:3])
        more = f", and {len(told) - 3} reasons more" if len(told) > 3 else ""
        raise PruningError(
            f"nothing can be pruned: all {len(self.frozen)} groups are frozen, {reasons}{more}; inspect --dim-groups tells where"
        )


def find_units(
    graph: Graph,
    amount: Amount,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    roles: Mapping[str, PluginRoles] | None = None,
) -> Prunable:
    """What can be pruned.

    Args:
        graph: the main graph of a model; its values have types.
        amount: of what; the number does not matter.
        include: only these weights or nodes.
        exclude: not these.
        roles: names of axes of plugins' operators.

    Raises:
        PruningError: if a name or pattern fits nothing: a misspelled one would do nothing, unnoticed.
    """
    if amount.kind == "channels":
        return _groups(graph, Selection(include, exclude), roles)
    found = _tensors(graph, amount)
    _check_patterns(Selection(include, exclude), [(value, value.users) for value in found])
    selection = Selection(include, exclude)
    chosen = [value for value in found if selection.admits(value, value.users)]
    left = tuple(value.name for value in found if value not in chosen)
    units = tuple(Unit(value.name, (value.name,), value.const.size) for value in chosen if value.const is not None)
    return Prunable(units, (), left)


def _tensors(graph: Graph, amount: Amount) -> list[Value]:
    if amount.kind == "magnitude":
        return [value for value, _constant in prunable_weights(graph)]
    inputs = (node.input_at(1) for node, _follows in n_m_layers(graph, amount.n, amount.m))
    return list(dict.fromkeys(value for value in inputs if value is not None))


def _groups(graph: Graph, selection: Selection, roles: Mapping[str, PluginRoles] | None) -> Prunable:
    found = find_dim_groups(graph, roles).groups
    makers = [
        (member.value, [] if member.node is None else [member.node]) for group in found for member in group.producers
    ]
    _check_patterns(selection, makers)
    free = [group for group in found if not group.is_frozen]
    chosen = [group for group in free if selection.admits_group(group)]
    frozen = tuple(Frozen(group.name, group.size, _reason(group)) for group in found if group.is_frozen)
    return Prunable(
        tuple(_unit(groups) for groups in _together(chosen)),
        frozen,
        tuple(group.name for group in free if group not in chosen),
    )


def _reason(group: DimGroup) -> str:
    return next(iter(group.reasons))


def _together(groups: Sequence[DimGroup]) -> Iterable[list[DimGroup]]:
    """Groups that no name tells apart: a weight that makes several of them makes them one."""
    linked: nx.Graph[object] = nx.Graph()
    for place, group in enumerate(groups):
        linked.add_node(place)
        linked.add_edges_from((place, member.value) for member in group.producers)
    for part in nx.connected_components(linked):
        yield [groups[place] for place in sorted(item for item in part if isinstance(item, int))]


def _unit(groups: Sequence[DimGroup]) -> Unit:
    weights = dict.fromkeys(member.value.name for group in groups for member in group.producers)
    return Unit(groups[0].name, tuple(weights), sum(group.size for group in groups))


def _check_patterns(selection: Selection, named: Sequence[_Named]) -> None:
    for option, patterns in (("include", selection.include), ("exclude", selection.exclude)):
        for pattern in patterns:
            if not any(Selection((pattern,)).admits(value, nodes) for value, nodes in named):
                hint = suggestion(pattern, [value.name for value, _nodes in named])
                raise PruningError(
                    f"{option} {pattern!r} fits no weight that can be pruned, nor a node that reads one{hint}"
                )
