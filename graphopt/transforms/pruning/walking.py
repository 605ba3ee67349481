"""Walks through a model and its reference once, stage by stage, though its weights change on the way.

What a layer reads depends on the layers before it, which were fitted just now, so each stage needs a run of its own. A run begins where
the one before it ended: the tensors that the rest of the walk needs are kept for each batch, and become inputs of what is left. All runs
together then cost what running both models once does. Where too much would have to be kept, or the source of the data can't be asked
to add arrays to its batches, a run begins earlier, at worst with the inputs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from graphopt.ir import Model, Node, TensorType, Value, clone_model
from graphopt.passes import CalibrationSource, ExtensibleSource, Observer, Reference
from graphopt.transforms.pruning.joined import cut_to, joined
from graphopt.transforms.pruning.tape import Tape
from graphopt.transforms.statistics import FLOATS, Several

__all__ = ["Walk", "reads_of"]


class Walk:
    """Runs of a model beside its reference. Use it in a ``with`` statement: it may have a file.

    Args:
        model: as it is now; what changes later is told by :meth:`change`.
        reference: what it was before something was taken away.
        source: of the data.

    Attributes:
        names: of the reference's tensors, by their names in the reference.
        batches: how many there are, 0 before the first run.

    Raises:
        PassError: if the two can't be joined.
    """

    def __init__(self, model: Model, reference: Reference, source: CalibrationSource) -> None:
        self._both, self.names = joined(model, reference)
        while self._both.graph.outputs:
            self._both.graph.remove_output(-1)
        self._values = {value.name: value for value in self._both.graph.values()}
        self._source = source
        self._start: Tape | None = None
        self.batches = 0

    def change(self, weight: Value | None) -> None:
        """A constant of the model may be another one now."""
        if weight is not None and weight.const is not None:
            self._values[weight.name].const = weight.const

    def observe(self, observers: Mapping[str, Observer], later: Collection[str]) -> None:
        """Show tensors to observers, batch by batch.

        Args:
            observers: by name in the joined model.
            later: names of all tensors that will be asked for after that.

        Raises:
            CalibrationError: if a batch does not fit, or a tensor has NaN or infinities.
        """
        begun = set() if self._start is None else {self._values[name] for name in self._start.names}
        known = self._before([self._values[name] for name in observers], begun)
        kept = self._border([self._values[name] for name in later], known | begun)
        seen = {name: [observer] for name, observer in observers.items()}
        tape, source = None, self._source
        if isinstance(source, ExtensibleSource):
            tape = Tape({value.name: value.dtype.numpy for value in kept if value.dtype is not None})
            for name in tape.names:
                seen.setdefault(name, []).append(tape.observer(name))
            if self._start is not None:
                source = source.with_arrays(self._start.batch)
        cut = clone_model(self._both)
        cut_to(cut, seen.keys(), [value.name for value in begun])
        try:
            self.batches = source.observe(cut, {name: Several(items) for name, items in seen.items()})
            if tape is not None and tape.is_whole(self.batches):
                self._start, tape = tape, self._start
        finally:
            if tape is not None:
                tape.close()

    def _before(self, values: Iterable[Value], begun: set[Value]) -> set[Value]:
        """What is computed for some tensors, themselves among it, from where a run begins."""
        found: set[Value] = set()
        todo = list(values)
        while todo:
            value = todo.pop()
            if value in found or value in begun or value.producer is None:
                continue
            found.update(value.producer.outputs)
            todo.extend(reads_of(value.producer))
        return found

    def _border(self, later: Iterable[Value], known: set[Value]) -> list[Value]:
        """Those of the known tensors from which all that is asked for later can be computed."""
        found: dict[Value, None] = {}
        seen: set[Value] = set()
        todo = list(later)
        while todo:
            value = todo.pop()
            if value in seen:
                continue
            seen.add(value)
            if value in known and _can_begin(value):
                found[value] = None
            elif value.producer is not None:
                todo.extend(reads_of(value.producer))
        return list(found)

    def close(self) -> None:
        """Forget what is kept."""
        if self._start is not None:
            self._start.close()

    def __enter__(self) -> Walk:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _can_begin(value: Value) -> bool:
    """Whether a tensor can be looked at, and given as an input."""
    kind = value.type
    nested = value.is_graph_output  # the joined model gives out nothing itself
    return isinstance(kind, TensorType) and kind.dtype in FLOATS and kind.shape is not None and not nested


def reads_of(node: Node) -> list[Value]:
    """What a node reads, with what graphs inside it read from around."""
    found = [value for value in node.inputs if value is not None]
    for graph in node.subgraphs:
        read = [value for inner in graph.walk() for value in inner.inputs if value is not None] + list(graph.outputs)
        found += [value for value in read if value.home is node.graph]
    return found
