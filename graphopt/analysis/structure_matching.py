"""Nodes of two models that correspond although their names differ: by what they compute, and by their neighbours.

A node is described by its operator, attributes and inputs, where an input that has a counterpart counts as that one, and any other by
how it is computed; large constants count by type. Equal descriptions are matched in order. From all nodes that correspond the search
goes on to their neighbours: the producer at the same input, and the only user of the same operator at the same place. Linear in nodes and
edges.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Set

from graphopt.analysis.model_survey import ModelSurvey
from graphopt.ir import Attribute, Constant, DType, Graph, Node, Value

__all__ = ["match_by_structure"]

_SMALL = 1 << 10


def match_by_structure(
    before: ModelSurvey, after: ModelSurvey, pairs: Mapping[Node, Node], taken: Set[Node], found: Set[Node]
) -> Iterator[tuple[Node, Node]]:
    """More nodes that correspond.

    Args:
        before: the one model.
        after: the other.
        pairs: nodes that are known to correspond, one to one.
        taken: nodes of ``before`` that are not to be matched any more.
        found: nodes of ``after`` that are not to be matched any more.
    """
    mine = [node for node in before.nodes if node not in taken]
    theirs = [node for node in after.nodes if node not in found]
    if not mine or not theirs:
        return
    search = _Search(before, after, dict(pairs), set(mine), set(theirs))
    yield from search.by_description(mine, theirs)
    yield from search.by_neighbours()
    yield from search.by_place()


class _Search:
    def __init__(
        self, before: ModelSurvey, after: ModelSurvey, pairs: dict[Node, Node], mine: set[Node], theirs: set[Node]
    ) -> None:
        self.before, self.after = before, after
        self.pairs, self.mine, self.theirs = pairs, mine, theirs

    def _match(self, a: Node, b: Node) -> tuple[Node, Node]:
        self.pairs[a] = b
        self.mine.discard(a)
        self.theirs.discard(b)
        return a, b

    def by_description(self, mine: list[Node], theirs: list[Node]) -> Iterator[tuple[Node, Node]]:
        """Nodes that compute the same from the same."""
        known = {a: f"pair {number}" for number, a in enumerate(self.pairs)}
        also = {b: known[a] for a, b in self.pairs.items()}
        by_name = _input_names(self.before) == _input_names(self.after)
        descriptions = _describe(self.before, known, by_name=by_name)
        waiting: dict[bytes, deque[Node]] = {}
        for node in mine:
            waiting.setdefault(descriptions[node], deque()).append(node)
        descriptions = _describe(self.after, also, by_name=by_name)
        for node in theirs:
            same = waiting.get(descriptions[node])
            if same:
                yield self._match(same.popleft(), node)

    def by_neighbours(self) -> Iterator[tuple[Node, Node]]:
        """Nodes next to nodes that correspond."""
        todo = deque(self.pairs.items())
        for pair in self._ends():
            todo.append(pair)
            yield pair
        while todo and self.mine and self.theirs:
            for pair in self._around(*todo.popleft()):
                todo.append(pair)
                yield pair

    def by_place(self) -> Iterator[tuple[Node, Node]]:
        """Another operator in the same place: it reads what corresponds, and what reads it corresponds."""
        there = {b: a for a, b in self.pairs.items()}
        for b in [node for node in self.after.nodes if node in self.theirs]:
            for use in (use for value in b.outputs[:1] for use in value.uses):
                reader = there.get(use.node)
                value = None if reader is None else reader.input_at(use.position)
                a = None if value is None else value.producer
                if a is not None and a in self.mine and self._read_the_same(a, b):
                    there[b] = a
                    yield self._match(a, b)
                    break

    def _read_the_same(self, a: Node, b: Node) -> bool:
        return len(a.inputs) == len(b.inputs) and all(map(self._corresponds, a.inputs, b.inputs))

    def _corresponds(self, one: Value | None, other: Value | None) -> bool:
        if one is None or other is None or one.producer is None or other.producer is None:
            return (one and one.name) == (other and other.name)
        return self.pairs.get(one.producer) is other.producer and one.index == other.index

    def _ends(self) -> Iterator[tuple[Node, Node]]:
        """What gives the outputs, and what reads the inputs, of graphs at the same place."""
        graphs = {path: graph for graph, path in self.after.paths.items()}
        for graph, path in self.before.paths.items():
            if path in graphs:
                yield from self._around_graphs(graph, graphs[path])

    def _around_graphs(self, a: Graph, b: Graph) -> Iterator[tuple[Node, Node]]:
        for one, other in zip(a.outputs, b.outputs, strict=False):
            yield from self._producers(one, other)
        for one, other in zip(a.inputs, b.inputs, strict=False):
            yield from self._users(one, other)

    def _around(self, a: Node, b: Node) -> Iterator[tuple[Node, Node]]:
        for one, other in zip(a.inputs, b.inputs, strict=False):
            yield from self._producers(one, other)
        for given, taken in zip(a.outputs, b.outputs, strict=False):
            yield from self._users(given, taken)
        for inner, same in zip(a.subgraphs, b.subgraphs, strict=False):
            yield from self._around_graphs(inner, same)

    def _producers(self, one: Value | None, other: Value | None) -> Iterator[tuple[Node, Node]]:
        if one is None or other is None or one.index != other.index:
            return
        a, b = one.producer, other.producer
        if a is not None and b is not None and a in self.mine and b in self.theirs and a.op == b.op:
            yield self._match(a, b)

    def _users(self, one: Value, other: Value) -> Iterator[tuple[Node, Node]]:
        mine, theirs = _readers(one, self.mine), _readers(other, self.theirs)
        for how, a in mine.items():
            b = theirs.get(how)
            if a is not None and b is not None and a in self.mine and b in self.theirs:
                yield self._match(a, b)


def _readers(value: Value, wanted: set[Node]) -> dict[tuple[str, int], Node | None]:
    """Those of the wanted nodes that read a value, by operator and position; ``None`` where there are several."""
    found: dict[tuple[str, int], Node | None] = {}
    for use in value.uses:
        if use.node in wanted:
            key = (use.node.op, use.position)
            found[key] = None if key in found else use.node
    return found


# -- descriptions -----------------------------------------------------------------------------------------------------------------


def _input_names(survey: ModelSurvey) -> Counter[str]:
    return Counter(value.name for value in survey.model.graph.inputs)


def _describe(survey: ModelSurvey, known: Mapping[Node, str], *, by_name: bool) -> dict[Node, bytes]:
    """For each node a digest of what it computes."""
    found: dict[Node, bytes] = {}
    values: dict[Value, str] = {}
    for graph in survey.paths:
        for place, value in enumerate(graph.inputs):
            values[value] = f"in {value.name if by_name and graph.parent is None else place}"
    for node in survey.nodes:
        inputs = [_use(value, values) for value in node.inputs]
        text = "\0".join((node.op, node.overload, str(len(node.outputs)), *inputs, *_attributes(node)))
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        found[node] = digest
        name = known.get(node) or digest.hex()
        for value in node.outputs:
            values[value] = f"{name} {value.index}"
    return found


def _use(value: Value | None, values: Mapping[Value, str]) -> str:
    if value is None:
        return "-"
    if value.const is not None and not value.is_input:
        return _constant(value.const)
    return values.get(value, "?")


def _constant(constant: Constant) -> str:
    if constant.dtype is DType.STRING or constant.nbytes <= _SMALL:
        return f"{constant.type} {constant.digest().hex()}"
    return str(constant.type)


def _attributes(node: Node) -> Iterator[str]:
    for name in sorted(node.attributes):
        yield f"{name}={_attribute(node.attributes[name])}"


def _attribute(attribute: Attribute) -> str:
    items = attribute.value if isinstance(attribute.value, tuple) else (attribute.value,)
    if any(isinstance(item, Graph) for item in items):
        return "graph"
    texts = [_constant(item) if isinstance(item, Constant) else repr(item) for item in items]
    return f"{attribute.kind.name} {attribute.ref} {','.join(texts)}"
