"""Which nodes and values of two models correspond: by lineage, by names, then by structure.

A model that graphopt made says which original nodes each new node came from; that is believed first. Nodes that nobody touched keep
their names, in most tools' results too; a fused node keeps the name of the value that it gives, and what lies between the values that it
reads and that one was fused into it. What has other names is found by structure: same operator, attributes and corresponding inputs, and
last as the neighbour of nodes that correspond.

Each step looks at each node and edge a bounded number of times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from graphopt.analysis.model_survey import ModelSurvey, origins_of
from graphopt.analysis.structure_matching import match_by_structure
from graphopt.ir import Model, Node, Value

__all__ = ["Group", "Matching", "match_models"]

#: Nodes that one fused node may stand for when nothing but names tells.
_MOST_FUSED: Final = 32


@dataclass(slots=True)
class Group:
    """Nodes of both models that stand for each other: one each as a rule, several before one that is fused."""

    before: list[Node]
    after: list[Node]

    @property
    def is_pair(self) -> bool:
        """Whether it is one node and its counterpart."""
        return len(self.before) == len(self.after) == 1


@dataclass(slots=True)
class Matching:
    """What corresponds in two models.

    Attributes:
        before: the one model.
        after: the other.
        groups: nodes that stand for each other, in the order of ``after``; each node is in one group at most.
        values: the value of ``after`` for one of ``before``.
    """

    before: ModelSurvey
    after: ModelSurvey
    groups: list[Group] = field(default_factory=list)
    values: dict[Value, Value] = field(default_factory=dict)

    def removed(self) -> Iterator[Node]:
        """Nodes of ``before`` without a counterpart."""
        known = {node for group in self.groups for node in group.before}
        return (node for node in self.before.nodes if node not in known)

    def added(self) -> Iterator[Node]:
        """Nodes of ``after`` without a counterpart."""
        known = {node for group in self.groups for node in group.after}
        return (node for node in self.after.nodes if node not in known)


def match_models(before: Model, after: Model) -> Matching:
    """Which nodes and values of two models correspond.

    Args:
        before: the one model.
        after: the other one, made from it or not.
    """
    return _Matcher(before, after).match()


class _Matcher:
    def __init__(self, before: Model, after: Model) -> None:
        self.before, self.after = ModelSurvey(before), ModelSurvey(after)
        #: Counterparts, and which nodes of the first model have one.
        self.origins: dict[Node, list[Node]] = {}
        self.claimed: set[Node] = set()

    def match(self) -> Matching:
        undecided = self._by_lineage(self._by_both_names(self.after.nodes))
        self._by_regions(self._by_one_name(undecided))
        found = Matching(self.before, self.after)
        pairs = {nodes[0]: node for node, nodes in self.origins.items() if len(nodes) == 1}
        shared = {node for nodes in self.origins.values() for node in nodes if len(nodes) > 1}
        simple = {a: b for a, b in pairs.items() if a not in shared}
        for a, b in match_by_structure(self.before, self.after, simple, self.claimed, set(self.origins)):
            self._claim(b, [a])
        found.groups = self._groups()
        found.values = _values(found)
        return found

    def _claim(self, node: Node, origins: Sequence[Node]) -> None:
        self.origins[node] = list(origins)
        self.claimed.update(origins)

    # -- names ----------------------------------------------------------------------------------------------------------------

    def _candidates(self, node: Node) -> tuple[Node | None, Node | None]:
        """The node of the same name, and the one that gives the same value."""
        path = self.after.path(node)
        given = next((value.name for value in node.outputs if value.name), "")
        return self.before.named(path, node.name), self.before.giving(path, given)

    def _by_both_names(self, nodes: Sequence[Node]) -> list[Node]:
        """Nodes that nobody touched: same operator, name and output, and no other lineage. Returns the rest."""
        rest = []
        for node in nodes:
            named, giving = self._candidates(node)
            found = giving if named is giving or not node.name or named is None else None
            if found is None or found.op != node.op or found in self.claimed or origins_of(found) != origins_of(node):
                rest.append(node)
            else:
                self._claim(node, [found])
        return rest

    def _by_lineage(self, nodes: Sequence[Node]) -> list[Node]:
        """Nodes that say what they came from; several may come from one. Returns the rest."""
        kept = set(self.claimed)
        rest = []
        for node in nodes:
            origins = [item for item in self.before.origins(origins_of(node)) if item not in kept]
            if origins:
                self._claim(node, origins)
            else:
                rest.append(node)
        return rest

    def _by_one_name(self, nodes: Sequence[Node]) -> list[Node]:
        """Nodes of the same operator that share a name or an output with another node. Returns the rest."""
        rest = []
        for node in nodes:
            named, giving = self._candidates(node)
            for found in (giving, named if giving is None else None):
                if found is not None and found.op == node.op and found not in self.claimed:
                    self._claim(node, [found])
                    break
            else:
                rest.append(node)
        return rest

    def _by_regions(self, nodes: Sequence[Node]) -> None:
        """Other operators that give a known value: what lies between this value and those that they read is fused in them."""
        for node in nodes:
            _, giving = self._candidates(node)
            if giving is not None and giving not in self.claimed:
                self._claim(node, self._region(giving, node))

    def _region(self, last: Node, fused: Node) -> list[Node]:
        """``last`` and the nodes before it up to the values that ``fused`` reads; ``last`` alone where that does not come out even."""
        read = {value.name for value in fused.inputs if value is not None}
        found, todo = {last: None}, [last]
        while todo:
            for value in todo.pop().inputs:
                if value is None or value.name in read or value.const is not None:
                    continue
                producer = value.producer
                if producer is None or producer in self.claimed or len(found) >= _MOST_FUSED:
                    return [last]
                if producer not in found:
                    found[producer] = None
                    todo.append(producer)
        return list(reversed(found))

    # -- groups ---------------------------------------------------------------------------------------------------------------

    def _groups(self) -> list[Group]:
        """Nodes that share origins, together."""
        by_origin: dict[Node, list[Node]] = {}
        for node, origins in self.origins.items():
            for origin in origins:
                by_origin.setdefault(origin, []).append(node)
        seen: set[Node] = set()
        groups = []
        place = {node: at for nodes in (self.before.nodes, self.after.nodes) for at, node in enumerate(nodes)}
        for node in self.after.nodes:
            if node in seen or node not in self.origins:
                continue
            origins = self.origins[node]
            if len(origins) == len(by_origin[origins[0]]) == 1:
                groups.append(Group(list(origins), [node]))
                continue
            after, before, todo = {node: None}, dict[Node, None](), [node]
            while todo:
                for origin in self.origins[todo.pop()]:
                    if origin in before:
                        continue
                    before[origin] = None
                    new = [other for other in by_origin[origin] if other not in after]
                    after.update(dict.fromkeys(new))
                    todo += new
            seen.update(after)
            groups.append(Group(sorted(before, key=place.__getitem__), sorted(after, key=place.__getitem__)))
        return groups


# -- values -----------------------------------------------------------------------------------------------------------------------


def _values(found: Matching) -> dict[Value, Value]:
    """What corresponds to what: outputs of pairs, what groups give to others, inputs and constants of one name."""
    values: dict[Value, Value] = {}
    for group in found.groups:
        if group.is_pair and group.before[0].op == group.after[0].op:
            values.update(zip(group.before[0].outputs, group.after[0].outputs, strict=False))
        else:
            values.update(_given(group))
    graphs = {path: graph for graph, path in found.after.paths.items()}
    for graph, path in found.before.paths.items():
        other = graphs.get(path)
        if other is None:
            continue
        named = {value.name: value for value in (*other.inputs, *other.initializers())}
        for value in (*graph.inputs, *graph.initializers()):
            if value.name in named:
                values.setdefault(value, named[value.name])
        if [value.name for value in graph.inputs] != [value.name for value in other.inputs]:
            for value, same in zip(graph.inputs, other.inputs, strict=False):
                values.setdefault(value, same)
    _values_by_lineage(found, values)
    return values


def _given(group: Group) -> dict[Value, Value]:
    """Values that both sides of a group give: those of one name, or the only one that each gives to others."""
    theirs = {value.name: value for node in group.after for value in node.outputs if value.name}
    mine = [value for node in group.before for value in node.outputs]
    same = {value: theirs[value.name] for value in mine if value.name and value.name in theirs}
    if same:
        return same
    given, taken = _leaving(group.before), _leaving(group.after)
    return {given[0]: taken[0]} if len(given) == len(taken) == 1 else {}


def _leaving(nodes: Sequence[Node]) -> list[Value]:
    inside = set(nodes)
    return [
        value
        for node in nodes
        for value in node.outputs
        if value.is_graph_output or any(user not in inside for user in value.users)
    ]


def _values_by_lineage(found: Matching, values: dict[Value, Value]) -> None:
    """Of a model in memory, values say which original ones they stand for."""
    names = {value.name: value for node in found.before.nodes for value in node.outputs if value.name}
    for node in found.after.nodes:
        for value in node.outputs:
            if value._lineage is not None:
                for name in value.lineage.names():
                    if name in names:
                        values[names[name]] = value
