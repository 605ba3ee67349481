"""How the inner tensors of a model are given out: as they are, as their extremes only, or a few at a time.

Each way edits a copy of the model once and then reads tensors from runs of it. What a run gives out is what takes memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol

import numpy as np

from graphopt.compiler.calibration.sizes import shapes_of
from graphopt.ir import Attribute, AttributeKind, Constant, DType, Graph, Model, Node, TensorType, Value
from graphopt.runtime.base import Datum, Feeds
from graphopt.verify.attribution.slicing import slices

__all__ = ["REDUCIBLE", "Extremes", "Gated", "Run", "Way", "Whole"]

#: Gives outputs by name, for inputs and names.
Run = Callable[[Feeds, Sequence[str]], dict[str, Datum]]
#: Element types that the runtime reduces as they are; it computes with float16 in float32, and where it rounds back is its affair.
REDUCIBLE: Final = frozenset({DType.FLOAT, DType.DOUBLE})


class Way(Protocol):
    """One way to give out tensors."""

    def edit(self, model: Model) -> None:
        """Add to a model what it takes, in place."""

    def read(self, run: Run, feeds: Feeds) -> Iterator[tuple[str, Datum]]:
        """Each tensor by name, freed as soon as the next is asked for."""


class Whole:
    """All tensors are outputs of one run."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(names)

    def edit(self, model: Model) -> None:
        """Make outputs of them."""
        _give_out(model.graph, self._names)

    def read(self, run: Run, feeds: Feeds) -> Iterator[tuple[str, Datum]]:
        """From one run."""
        found = run(feeds, self._names)
        for name in self._names:
            yield name, found.pop(name)


class Extremes:
    """Of each tensor the smallest and the largest number, found by the runtime, which then frees it; small ones as they are.

    ReduceMin and ReduceMax pass over NaN, so there is a sum too, which does not: where it is not finite, the tensor has NaN or
    infinities, or its sum is too large, and ``again`` says which by the whole tensor.

    Args:
        names: of all tensors, of types in :data:`REDUCIBLE`.
        small: those that are given out as they are.
        again: gives a whole tensor, for inputs and a name.
    """

    def __init__(self, names: Sequence[str], small: frozenset[str], again: Callable[[Feeds, str], Datum]) -> None:
        self._names = list(names)
        self._small = small
        self._again = again
        self._parts: dict[str, list[str]] = {}

    def edit(self, model: Model) -> None:
        """Add three reductions of each."""
        graph = model.graph
        values = _values(graph)
        for name in self._names:
            if name in self._small:
                continue
            value = values[name]
            made = [_after(graph, op, [value], {"keepdims": 0}) for op in ("ReduceMin", "ReduceMax", "ReduceSum")]
            for item in made:
                graph.add_output(item)
            self._parts[name] = [item.name for item in made]
        _give_out(graph, sorted(self._small & set(self._names)))

    def read(self, run: Run, feeds: Feeds) -> Iterator[tuple[str, Datum]]:
        """An array of two numbers for each that was reduced; an empty one for an empty tensor."""
        outputs = [part for name in self._names for part in self._parts.get(name, [name])]
        found = run(feeds, outputs)
        for name in self._names:
            if name not in self._parts:
                yield name, found.pop(name)
                continue
            low, high, total = (np.asarray(found.pop(part)).reshape(-1) for part in self._parts[name])
            if not np.isfinite(np.float64(total[0])):
                yield name, self._again(feeds, name)
            else:
                yield name, np.concatenate([low, high])[: 2 if low[0] <= high[0] else 0]


class Gated:
    """A few tensors at a time, in several runs of one session: each passes an If, which gives nothing while its switch is off.

    Args:
        names: of the tensors.
        memory: bytes that tensors of a run may take; a larger one has a run of its own.
    """

    def __init__(self, names: Sequence[str], memory: int) -> None:
        self._names = list(names)
        self._memory = memory
        self._switches: dict[str, str] = {}
        self._gates: dict[str, str] = {}
        self._shapes: dict[str, str] = {}
        self._item_bytes: dict[str, int] = {}
        self._known: tuple[object, list[range]] = (None, [])

    def edit(self, model: Model) -> None:
        """Add a switch, a gate and the shape of each."""
        graph = model.graph
        values = _values(graph)
        for name in self._names:
            value = values[name]
            dtype = value.type.dtype if isinstance(value.type, TensorType) else DType.FLOAT
            if not isinstance(value.type, TensorType):
                value = _after(graph, "Cast", [value], {"to": int(dtype)})
            switch = Value(graph.fresh_name(f"{name}_wanted"), TensorType(DType.BOOL, ()))
            graph.add_input(switch)
            branches = {"then_branch": _passing(graph, value), "else_branch": _nothing(graph, dtype)}
            gate = _after(graph, "If", [switch], branches, at=value)
            shape = _after(graph, "Shape", [value], {}, at=value)
            graph.add_output(gate)
            graph.add_output(shape)
            self._switches[name], self._gates[name], self._shapes[name] = switch.name, gate.name, shape.name
            self._item_bytes[name] = dtype.numpy.itemsize

    def read(self, run: Run, feeds: Feeds) -> Iterator[tuple[str, Datum]]:
        """From as many runs as it takes, after one that finds how large the tensors are."""
        for part in self._slices(run, feeds):
            names = self._names[part.start : part.stop]
            found = run({**feeds, **self._settings(names)}, [self._gates[name] for name in names])
            for name in names:
                yield name, found.pop(self._gates[name])

    def _slices(self, run: Run, feeds: Feeds) -> list[range]:
        """Which tensors go together; inputs of the same shapes as the last ones need no new look."""
        shapes = shapes_of(feeds)
        if self._known[0] != shapes:
            found = run({**feeds, **self._settings(())}, [self._shapes[name] for name in self._names])
            sizes = [
                int(np.prod(np.asarray(found[self._shapes[name]]))) * self._item_bytes[name] for name in self._names
            ]
            self._known = shapes, slices(sizes, self._memory)
        return self._known[1]

    def _settings(self, on: Sequence[str]) -> Mapping[str, Datum]:
        return {switch: np.array(name in on) for name, switch in self._switches.items()}


def _values(graph: Graph) -> dict[str, Value]:
    return {value.name: value for node in graph.nodes for value in node.outputs}


def _give_out(graph: Graph, names: Sequence[str]) -> None:
    values = _values(graph)
    for name in names:
        if not values[name].is_graph_output:
            graph.add_output(values[name])


def _after(
    graph: Graph,
    op: str,
    inputs: Sequence[Value],
    attributes: Mapping[str, int | Graph],
    *,
    at: Value | None = None,
) -> Value:
    """The output of a new node right behind the one that gives a value, so that the value can be freed early."""
    kinds = {
        key: Attribute(AttributeKind.GRAPH if isinstance(item, Graph) else AttributeKind.INT, item)
        for key, item in attributes.items()
    }
    node = Node(op, inputs, [Value(graph.fresh_name(f"{inputs[0].name}_{op}"))], kinds)
    place = inputs[0] if at is None else at
    assert place.producer is not None, "only outputs of nodes are looked at"
    graph.insert_after(place.producer, node)
    return node.outputs[0]


def _passing(graph: Graph, value: Value) -> Graph:
    inner = Graph(graph.fresh_name("pass"))
    node = inner.append(
        Node(
            "Identity",
            [value],
            [Value(graph.fresh_name("passed"), value.type and TensorType(value.dtype or DType.FLOAT))],
        )
    )
    inner.add_output(node.outputs[0])
    return inner


def _nothing(graph: Graph, dtype: DType) -> Graph:
    inner = Graph(graph.fresh_name("nothing"))
    empty = Attribute(AttributeKind.TENSOR, Constant(np.zeros(0, dtype.numpy)))
    node = inner.append(
        Node("Constant", [], [Value(graph.fresh_name("empty"), TensorType(dtype, (0,)))], {"value": empty})
    )
    inner.add_output(node.outputs[0])
    return inner
