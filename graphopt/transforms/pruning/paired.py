"""Two models run on the same data at once: what a layer reads now beside what it gave before something was taken away.

Both are put into one model that shares the inputs, so that each batch is seen by both, and what is looked at is only sums of products.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from graphopt.errors import PassError
from graphopt.ir import Array, Model, Node, Value, clone_model, inline_graph
from graphopt.passes import Observer, Reference
from graphopt.transforms.statistics import LayerInput

__all__ = ["PairedMoments", "cut_to", "joined"]

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


class PairedMoments:
    """Sums of products of what a layer reads with itself, and with what it is to give.

    Args:
        layer: reads the rows.
        outputs: how many channels it gives.
        left: of what the reference gives, takes what is left.

    Attributes:
        count: rows that were seen.
        inputs: float64 [groups, columns + 1, columns + 1]; the last column is 1, for the bias.
        targets: float64 [groups, columns + 1, outputs of a group].
    """

    def __init__(self, layer: LayerInput, outputs: int, left: tuple[Reference, str]) -> None:
        self._layer, self._outputs = layer, outputs
        self._reference, self._name = left
        self._rows = LayerInput(Node("MatMul"), layer.weight, 1, outputs)  # takes the same rows of a plain matrix
        self._turn = 0
        self._read: Array | None = None
        self._given: Array | None = None
        size = layer.columns + 1
        self.count = 0
        self.inputs: Float64 = np.zeros((layer.groups, size, size))
        self.targets: Float64 = np.zeros((layer.groups, size, outputs // layer.groups))

    def observers(self, read: Value, given: str) -> list[tuple[str, Observer]]:
        """Who is to see the tensor that is read, and the one that the reference gives."""
        return [(read.name, _Part(self, is_target=False)), (given, _Part(self, is_target=True))]

    def take(self, array: Array, *, is_target: bool) -> None:
        """One of the two tensors of a batch."""
        if is_target:
            self._given = array
        else:
            self._read = array
        if self._read is None or self._given is None:
            return
        read, given = self._read, self._reference.left(self._name, self._given)
        self._read = self._given = None
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
    """Sees one of the two tensors."""

    def __init__(self, pair: PairedMoments, *, is_target: bool) -> None:
        self._pair, self._is_target = pair, is_target

    def observe(self, array: Array) -> None:
        """Take a batch into account."""
        self._pair.take(np.array(array), is_target=self._is_target)
