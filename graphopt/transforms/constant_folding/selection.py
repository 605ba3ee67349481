"""Decides which results of the constant region become constants, so that the model does not grow.

A result that somebody outside the region reads is at the frontier. From the last frontier node to the first, the node is replaced by a
constant if that takes no more bytes than it frees: the node, and what only it needed (nodes of the region, Constant nodes, initializers).
Results of a few numbers always become constants. Otherwise the node stays, and what it reads is at the frontier: a weight stays int8
behind its Cast, a ConstantOfShape keeps its two numbers, but the shape that was computed for it is folded.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphopt.ir import Node, TensorType, Value
from graphopt.transforms.constant_folding.region import Region
from graphopt.transforms.constant_folding.sizes import constant_cost, node_cost

__all__ = ["Choice", "choose"]

_STEPS_PER_NODE = 64
#: Results of so few bytes are always worth a constant, whatever the node that they replace takes.
_TINY = 64


@dataclass(frozen=True, slots=True)
class Choice:
    """A node that is replaced.

    Attributes:
        node: it.
        values: its outputs that become constants.
        nbytes: bytes that they may take.
    """

    node: Node
    values: tuple[Value, ...]
    nbytes: int


def choose(region: Region, allowance: int, max_fill: int) -> list[Choice]:
    """The nodes to replace, users before what they use.

    Args:
        region: the constant region.
        allowance: bytes by which the model may grow in all.
        max_fill: bytes of the largest result of ConstantOfShape that is replaced.
    """
    ledger = _Ledger(region)
    kept: set[Node] = set()
    growth = 0
    chosen: list[Choice] = []
    for node in reversed(region.nodes):
        values = tuple(value for value in node.outputs if _is_read_outside(value, region, kept))
        if not values:
            continue
        added = _cost(values, region)
        if added is None or (node.op == "ConstantOfShape" and added > max_fill):
            kept.add(node)
            continue
        is_tiny = sum(region.size_of(value) or 0 for value in values) <= _TINY
        freed = ledger.release(node, 0 if is_tiny else added - allowance)
        if freed is None:
            kept.add(node)
            continue
        growth += 0 if is_tiny else max(0, added - freed)
        chosen.append(Choice(node, values, max(added, freed)))
    # All that would grow, or nothing of it: so a second run finds the same.
    return chosen if growth <= allowance else choose(region, 0, max_fill)


def _is_read_outside(value: Value, region: Region, kept: set[Node]) -> bool:
    if value.graph_outputs:
        return True
    for user, _ in value._uses:
        user = region.inside.get(user, user)
        if user in kept or user not in region.nodes:
            return True
    return False


def _cost(values: tuple[Value, ...], region: Region) -> int | None:
    """Bytes of values as constants, ``None`` when nobody can tell."""
    total = 0
    for value in values:
        nbytes = region.size_of(value)
        if nbytes is None or not (value.type is None or isinstance(value.type, TensorType)):
            return None
        total += constant_cost(nbytes, value.rank or 1)
    return total


class _Ledger:
    """Who still needs what, while nodes go."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._readers: dict[Value, int] = {}
        self._most = self._most_freed()
        self._steps = _STEPS_PER_NODE * len(region.nodes) + 1024

    def _most_freed(self) -> dict[Node, int]:
        """More than what can go with each node, if all that it needs were its own."""
        most: dict[Node, int] = {}
        for node in self._region.nodes:
            total = node_cost(node)
            for value in dict.fromkeys(_reads(node)):
                total += most.get(value.producer, 0) if value.producer is not None else 0
                total += self._bytes_of(value)
            most[node] = min(total, 1 << 62)
        return most

    def _bytes_of(self, value: Value) -> int:
        constant = self._region.constant_of(value)
        if constant is None:
            return 0
        extra = node_cost(value.producer) - constant.nbytes if value.producer is not None else 0
        return constant_cost(constant.nbytes, constant.ndim) + extra

    def release(self, node: Node, needed: int) -> int | None:
        """Bytes that go with a node; ``None``, and nothing goes, if they are fewer than ``needed``."""
        if self._most[node] < needed or self._steps <= 0:
            return None
        undo: list[Value] = []
        freed = 0
        todo = [node]
        while todo:
            gone = todo.pop()
            freed += node_cost(gone)
            for value in _reads(gone):
                self._steps -= 1
                readers = self._readers.get(value)
                if readers is None:
                    readers = value.use_count + value.graph_outputs
                self._readers[value] = readers = readers - 1
                undo.append(value)
                if readers:
                    continue
                freed += self._bytes_of(value)
                producer = value.producer
                if producer is None or producer not in self._region.nodes:
                    continue
                if not any(map(self._left, producer.outputs)):
                    todo.append(producer)
        if freed < needed:
            for value in undo:
                self._readers[value] += 1
            return None
        return freed

    def _left(self, value: Value) -> int:
        found = self._readers.get(value)
        return value.use_count + value.graph_outputs if found is None else found


def _reads(node: Node) -> list[Value]:
    """What a node reads, as often as it does; of subgraphs too."""
    found = [value for value in node.inputs if value is not None]
    for graph in node.subgraphs:
        found += [value for inner in graph.walk() for value in inner.inputs if value is not None]
    return found
