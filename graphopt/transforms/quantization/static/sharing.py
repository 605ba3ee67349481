"""Which values share one scale: what goes in and out of a node that only moves numbers, and what is joined by Concat alone.

Source: union-find with path halving, Tarjan and van Leeuwen, Worst-Case Analysis of Set Union Algorithms, 1984.
"""

from __future__ import annotations

from graphopt.ir import Value, constant_of
from graphopt.transforms.quantization.static.placement import Placement
from graphopt.transforms.quantization.static.roles import data_outputs

__all__ = ["Group", "groups_of"]

_Bounds = tuple[float, float] | None


class Group:
    """Values with one scale.

    Attributes:
        values: in order of the graph.
        bounds: between which numbers each layer that gives one of them saturates.
    """

    def __init__(self) -> None:
        self.values: dict[Value, None] = {}
        self.bounds: set[_Bounds] = set()


def groups_of(placement: Placement) -> list[Group]:
    """The activations and constant operands that are quantized, each in one group."""
    sets = _Sets()
    for node, chain in placement.in_order():
        inputs = placement.inputs(node)
        for value in inputs:
            sets.add(value)
            if not placement.is_there(value):
                sets.bound(value, None)
        if placement.passes(node):
            for value in data_outputs(node):
                sets.add(value)
                sets.join(inputs[0], value)
        elif placement.gives_integers(node):
            sets.add(chain.tail)
            if chain.bounds is not None or node.op != "Concat":
                sets.bound(chain.tail, chain.bounds)
    for node, chain in placement.in_order():
        if node.op == "Concat" and not placement.passes(node) and placement.gives_integers(node):
            _join_parts(placement.inputs(node), chain.tail, sets)
    return sets.groups()


def _join_parts(inputs: list[Value], tail: Value, sets: _Sets) -> None:
    """Let what is joined share the scale of the whole, unless a part saturates at bounds that another one lacks."""
    parts = [value for value in inputs if constant_of(value) is None]
    alone = [value for value in parts if value.has_single_use]
    bounds = {frozenset(sets.bounds(value)) for value in alone}
    if bounds == {frozenset({None})} or (len(bounds) == 1 and len(alone) == len(inputs)):
        for value in alone:
            sets.join(tail, value)


class _Sets:
    """Disjoint sets of values."""

    def __init__(self) -> None:
        self._parent: dict[Value, Value] = {}
        self._bounds: dict[Value, set[_Bounds]] = {}

    def add(self, value: Value) -> None:
        """Take a value in."""
        if value not in self._parent:
            self._parent[value] = value
            self._bounds[value] = set()

    def bound(self, value: Value, bounds: _Bounds) -> None:
        """Learn where the layer that gives a value saturates, ``None`` for nowhere."""
        self._bounds[self.root(value)].add(bounds)

    def root(self, value: Value) -> Value:
        """What stands for the set of a value."""
        while self._parent[value] is not value:
            self._parent[value] = value = self._parent[self._parent[value]]
        return value

    def join(self, one: Value, other: Value) -> None:
        """Make two sets one."""
        one, other = self.root(one), self.root(other)
        if one is not other:
            self._parent[other] = one
            self._bounds[one] |= self._bounds.pop(other)

    def bounds(self, value: Value) -> set[_Bounds]:
        """Where the layers of a set saturate."""
        return self._bounds[self.root(value)]

    def groups(self) -> list[Group]:
        """All sets, in the order in which their first values came."""
        found: dict[Value, Group] = {}
        for value in self._parent:
            group = found.setdefault(self.root(value), Group())
            group.values[value] = None
            group.bounds = self._bounds[self.root(value)]
        return list(found.values())
