"""The order in which layers can be computed: what a loop or conditional holds goes together.

``get_layer`` gives layers in the order of their making, which is not one in which inputs come first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import networkx as nx

from graphopt.testing.tensorrt.reading import Item

__all__ = ["Plan", "plan_of"]

_LOOP: Final = ("TRIP_LIMIT", "RECURRENCE", "ITERATOR", "LOOP_OUTPUT")
_CONDITIONAL: Final = ("CONDITION", "CONDITIONAL_INPUT", "CONDITIONAL_OUTPUT")


@dataclass
class Plan:
    """Layers in an order in which they can be computed.

    Attributes:
        items: layers, and the plans of loops and conditionals.
        kind: ``"loop"``, ``"if"`` or ``""`` for the network.
        owner: the loop or conditional.
        borders: its layers of its own kinds.
        needs: tensors from outside.
        gives: tensors that others may use.
    """

    items: list[Item | Plan] = field(default_factory=list)
    kind: str = ""
    owner: Any = None
    borders: list[Item] = field(default_factory=list)
    needs: set[str] = field(default_factory=set)
    gives: set[str] = field(default_factory=set)


def plan_of(items: Sequence[Item], known: set[str]) -> Plan:
    """The plan of a network.

    Args:
        items: its layers.
        known: tensors that are there at first.

    Raises:
        ValueError: if layers need each other.
    """
    producers = {name: item for item in items for name in item.outputs}
    graph: nx.DiGraph[int] = nx.DiGraph()
    places = {id(item): place for place, item in enumerate(items)}
    graph.add_nodes_from(range(len(items)))
    for item in items:
        for name in item.inputs:
            maker = producers.get(name or "")
            if maker is not None:
                graph.add_edge(places[id(maker)], places[id(item)])
    regions = _regions(items, graph)
    return _nested(items, graph, regions, set(range(len(items))), Plan(), depth=0)


def _regions(items: Sequence[Item], graph: nx.DiGraph[int]) -> list[tuple[str, Any, set[int], list[int]]]:
    """Loops and conditionals: kind, owner, all of their layers, those on their border; the largest first."""
    owners: dict[str, tuple[str, Any, list[int]]] = {}
    for place, item in enumerate(items):
        if item.kind in _LOOP:
            owner, kind = item.layer.loop, "loop"
        elif item.kind in _CONDITIONAL:
            owner, kind = item.layer.conditional, "if"
        else:
            continue
        owners.setdefault(f"{kind} {owner.name}", (kind, owner, []))[2].append(place)
    found = []
    for kind, owner, border in owners.values():
        starts = [p for p in border if items[p].kind in ("RECURRENCE", "ITERATOR", "CONDITIONAL_INPUT", "CONDITION")]
        ends = [p for p in border if items[p].kind in ("LOOP_OUTPUT", "RECURRENCE", "CONDITIONAL_OUTPUT", "TRIP_LIMIT")]
        after = set(starts).union(*(nx.descendants(graph, place) for place in starts))
        before = set(ends).union(*(nx.ancestors(graph, place) for place in ends))
        inside = (after & before) | set(border)
        outputs = [p for p in border if items[p].kind in ("LOOP_OUTPUT", "CONDITIONAL_OUTPUT")]
        beyond = set().union(*(nx.descendants(graph, place) for place in outputs)) if outputs else set()
        found.append((kind, owner, inside - (beyond - set(border)), border))
    return sorted(found, key=lambda region: -len(region[2]))


def _nested(
    items: Sequence[Item],
    graph: nx.DiGraph[int],
    regions: list[tuple[str, Any, set[int], list[int]]],
    members: set[int],
    plan: Plan,
    *,
    depth: int,
) -> Plan:
    """Fill a plan with layers and inner plans in order."""
    own = set(plan_border(plan, items)) if plan.kind else set()
    rest = members - own
    group: dict[int, int] = {}
    inner: list[tuple[Plan, set[int]]] = []
    for kind, owner, inside, border in regions:
        if not inside <= rest or any(place in group for place in inside):
            continue
        for place in inside:
            group[place] = len(items) + len(inner)
        made = Plan(kind=kind, owner=owner, borders=[items[place] for place in border])
        inner.append((made, inside))
    order: nx.DiGraph[int] = nx.DiGraph()
    for place in sorted(rest):
        order.add_node(group.get(place, place))
    for a, b in graph.subgraph(rest).edges:
        first, second = group.get(a, a), group.get(b, b)
        if first != second:
            order.add_edge(first, second)
    for place in nx.lexicographical_topological_sort(order):
        if place < len(items):
            plan.items.append(items[place])
        else:
            made, inside = inner[place - len(items)]
            deeper = [region for region in regions if region[2] < inside]
            plan.items.append(_nested(items, graph, deeper, inside, made, depth=depth + 1))
    plan.gives = {name for place in members for name in items[place].outputs}
    plan.needs = {name for place in members for name in items[place].inputs if name} - plan.gives
    return plan


def plan_border(plan: Plan, items: Sequence[Item]) -> list[int]:
    """Places of the layers on the border of a plan."""
    border = {id(item) for item in plan.borders}
    return [place for place, item in enumerate(items) if id(item) in border]
