"""Two models run on the same data at once: what a layer reads now beside what it gave before something was taken away.

Both are put into one model that shares the inputs, so that each batch is seen by both, and what is looked at is only sums of products.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from graphopt.errors import PassError
from graphopt.ir import Array, Model, Node, Value, clone_model, inline_graph
from graphopt.passes import Observer, Reference
from graphopt.transforms.statistics import LayerInput

__all__ = ["PairedMoments", "Target", "cut_to", "joined"]

Float64 = npt.NDArray[np.float64]
#: Rows that are looked at, of each sample of a batch and of a batch.
_EACH, _MOST = 96, 4096


def joined(model: Model, reference: Reference) -> tuple[Model, dict[str, str]]:
    """A copy of a model that also computes all that the reference does, and the names of the reference's tensors in it.

    Raises:
        PassError: if they are of other operator sets, or have other inputs.
    """
    both = clone_model(model)
    before = reference.model
    versions = {domain: version for domain, version in before.opset_imports.items() if domain in both.opset_imports}
    if any(both.opset_imports[domain] != version for domain, version in versions.items()):
        raise PassError("the model was pruned at another opset; raise the opset before that, or recover right after it")
    both.opset_imports.update({domain: before.opset_imports[domain] for domain in before.opset_imports})
    both.functions.update({key: function for key, function in before.functions.items() if key not in both.functions})
    inputs = {value.name: value for value in both.graph.inputs}
    lacking = [value.name for value in before.graph.inputs if value.name not in inputs and value.const is None]
    first = next(iter(both.graph.nodes), None)
    if lacking or first is None:
        raise PassError(
            f"the model has no input {lacking[:1]} any more, which it had before it was pruned; recover right after that"
        )
    given = {value: inputs[value.name] for value in before.graph.inputs if value.name in inputs}
    copies = inline_graph(before.graph, first, given)
    return both, {value.name: copy.name for value, copy in copies.items() if value.name}


def cut_to(model: Model, names: Collection[str]) -> None:
    """Drop from a model what some tensors don't need; they become its outputs."""
    graph = model.graph
    while graph.outputs:
        graph.remove_output(-1)
    for value in list(graph.values()):
        if value.name in names and not value.is_input:
            graph.add_output(value)
    for node in reversed(graph.nodes):
        if not any(value.is_used for value in node.outputs):
            graph.erase(node)


@dataclass(frozen=True, slots=True)
class Target:
    """What a layer is to give.

    Attributes:
        reference: where it gave that.
        name: of the tensor there: what the layer gave, or the sum of that with something else.
        beside: what is added to the layer's output now, if ``name`` is a sum: then the layer also makes up for what is lost there.
    """

    reference: Reference
    name: str
    beside: Value | None = None

    def wanted(self, given: Array, beside: Array | None) -> Array:
        """What is left of what the reference gave, less what is added."""
        left = self.reference.left(self.name, given)
        return left if beside is None else left.astype(np.float32) - beside.astype(np.float32)


class PairedMoments:
    """Sums of products of what a layer reads with itself, and with what it is to give.

    Args:
        layer: reads the rows.
        outputs: how many channels it gives.
        target: what it is to give.

    Attributes:
        count: rows that were seen.
        inputs: float64 [groups, columns + 1, columns + 1]; the last column is 1, for the bias.
        targets: float64 [groups, columns + 1, outputs of a group].
    """

    def __init__(self, layer: LayerInput, outputs: int, target: Target) -> None:
        self._layer, self._outputs, self._target = layer, outputs, target
        self._rows = LayerInput(Node("MatMul"), layer.weight, 1, outputs)  # takes the same rows of a plain matrix
        self._turn = 0
        self._seen: dict[str, Array] = {}
        size = layer.columns + 1
        self.count = 0
        self.inputs: Float64 = np.zeros((layer.groups, size, size))
        self.targets: Float64 = np.zeros((layer.groups, size, outputs // layer.groups))

    def observers(self, names: Mapping[str, str]) -> dict[str, Observer]:
        """Who is to see which tensor of the joined model.

        Args:
            names: of the reference's tensors in it.
        """
        parts: dict[str, list[str]] = {self._layer.value.name: ["read"]}
        parts.setdefault(names[self._target.name], []).append("given")
        if self._target.beside is not None:
            parts.setdefault(self._target.beside.name, []).append("beside")
        return {name: _Part(self, roles) for name, roles in parts.items()}

    def take(self, role: str, array: Array) -> None:
        """One of the tensors of a batch."""
        self._seen[role] = array
        if len(self._seen) == (2 if self._target.beside is None else 3):
            self._add(self._seen["read"], self._target.wanted(self._seen["given"], self._seen.get("beside")))
            self._seen = {}

    def _add(self, read: Array, given: Array) -> None:
        limit = min(_EACH * max(len(read), 1), _MOST)
        rows = self._layer.rows(read, limit, self._turn).astype(np.float32, copy=False)
        if self._layer.node.op == "Conv":
            given = np.moveaxis(given, 1, -1)
        wanted = self._rows.rows(given.reshape(-1, self._outputs), limit, self._turn)[0].astype(np.float32, copy=False)
        self._turn += 1
        groups, count, _columns = rows.shape
        rows = np.concatenate([rows, np.ones((groups, count, 1), np.float32)], axis=2)
        turned = rows.swapaxes(1, 2)
        self.count += count
        self.inputs += turned @ rows
        self.targets += turned @ wanted.reshape(count, groups, -1).swapaxes(0, 1)


class _Part:
    """Sees one of the tensors."""

    def __init__(self, pair: PairedMoments, roles: Sequence[str]) -> None:
        self._pair, self._roles = pair, roles

    def observe(self, array: Array) -> None:
        """Take a batch into account."""
        for role in self._roles:
            self._pair.take(role, np.array(array))
