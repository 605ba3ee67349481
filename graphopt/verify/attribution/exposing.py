"""A model cut down to some of its values, as a runtime can load it: weights stay in files and are not copied.

Runs in the child process.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from graphopt.backends.onnx.files import save
from graphopt.errors import ExecutionError
from graphopt.frontends.onnx import lift
from graphopt.ir import TensorType, Type
from graphopt.runtime.base import Feeds, Outputs
from graphopt.runtime.onnxruntime_runner import OrtRunner

__all__ = ["ExposedModel"]

#: Of a larger file the weights go to external data, once: they are not kept in messages and not serialized for each run.
_LARGE_FILE: Final = 1 << 20


class ExposedModel:
    """A model whose inner values can be asked for.

    Args:
        path: the model file.
        scratch: folder for a copy with external data, used for large files only.
        threads: within an operator, ``None`` for all cores.

    Attributes:
        path: the model file.
        outputs: names of its own outputs.
    """

    def __init__(self, path: str, scratch: str, threads: int | None = None) -> None:
        self.path = path
        self._threads = threads
        if os.path.getsize(path) > _LARGE_FILE:
            path = os.path.join(scratch, "exposed.onnx")
            save(lift(self.path), path, external_data=True)
        self._folder = str(Path(path).resolve().parent)
        proto = onnx.load(path, load_external_data=False)
        graph = proto.graph
        self._nodes = list(graph.node)
        self._constants: list[TensorProto] = list(graph.initializer)
        self._sparse = list(graph.sparse_initializer)
        self._reads = [_reads(node) for node in self._nodes]
        self._giver = {name: at for at, node in enumerate(self._nodes) for name in node.output if name}
        self._inputs = {value.name for value in graph.input}
        self._declared = {value.name: value for value in graph.output}
        self.outputs = list(self._declared)
        for field in ("node", "initializer", "sparse_initializer", "output"):
            graph.ClearField(field)
        self._shell = proto

    def types(self, names: Sequence[str]) -> dict[str, Type | None]:
        """What the runtime says about values, without running; those that it does not give out are left out."""
        try:
            with self.open(names) as runner:
                return {spec.name: spec.type for spec in runner.outputs}
        except ExecutionError:
            if len(names) < 2:
                return {}
            half = len(names) // 2
            return self.types(names[:half]) | self.types(names[half:])

    def sizes(self, types: dict[str, Type | None], feeds: Feeds) -> dict[str, int | None]:
        """Bytes of tensors, from a run that gives out nothing but their shapes; ``None`` where that does not work."""
        names = [name for name, found in types.items() if isinstance(found, TensorType)]
        shapes = [f"graphopt.shape.{place}" for place in range(len(names))]
        asked = [
            NodeProto(op_type="Shape", input=[name], output=[shape]) for name, shape in zip(names, shapes, strict=True)
        ]
        try:
            with self.open(names, extra=asked, outputs=shapes) as runner:
                found = runner.run(self._fed(feeds, runner))
        except ExecutionError:
            return dict.fromkeys(names)
        return {name: _bytes(types[name], found[shape]) for name, shape in zip(names, shapes, strict=True)}

    def run(self, names: Sequence[str], feeds: Feeds) -> Outputs:
        """Values by name.

        Raises:
            ExecutionError: if the model does not run.
        """
        with self.open(names) as runner:
            return runner.run(self._fed(feeds, runner))

    def open(
        self, names: Sequence[str], *, extra: Sequence[NodeProto] = (), outputs: Sequence[str] | None = None
    ) -> OrtRunner:
        """A runner that gives out some values.

        Args:
            names: what is needed.
            extra: nodes that are added at the end.
            outputs: what is given out, ``names`` by default.

        Raises:
            ExecutionError: if the runtime does not load it.
        """
        proto = self._cut(names, extra, names if outputs is None else outputs)
        try:
            return OrtRunner(proto, threads=self._threads, folder=self._folder)
        except ExecutionError as err:
            raise ExecutionError(f"{self.path!r}: {err}") from err

    def _fed(self, feeds: Feeds, runner: OrtRunner) -> Feeds:
        """Those of the inputs that the model has."""
        known = {spec.name for spec in (*runner.inputs, *runner.overridable)}
        return {name: value for name, value in feeds.items() if name in known}

    def _cut(self, names: Sequence[str], extra: Sequence[NodeProto], outputs: Sequence[str]) -> ModelProto:
        """A model with the nodes that some values need, and with these as outputs."""
        kept, needed = self._needed(names)
        model = ModelProto()
        model.CopyFrom(self._shell)
        graph = model.graph
        graph.node.extend([self._nodes[at] for at in sorted(kept)])
        graph.node.extend(extra)
        graph.initializer.extend([item for item in self._constants if item.name in needed or item.name in self._inputs])
        graph.sparse_initializer.extend([item for item in self._sparse if item.values.name in needed])
        graph.output.extend([self._declared.get(name) or ValueInfoProto(name=name) for name in outputs])
        return model

    def _needed(self, names: Iterable[str]) -> tuple[set[int], set[str]]:
        kept: set[int] = set()
        needed, todo = set(names), list(names)
        while todo:
            at = self._giver.get(todo.pop())
            if at is not None and at not in kept:
                kept.add(at)
                new = [name for name in self._reads[at] if name not in needed]
                needed.update(new)
                todo += new
        return kept, needed


def _reads(node: NodeProto) -> set[str]:
    """Names that a node reads, those that are read inside its subgraphs among them."""
    found, todo = set(node.input), [node]
    while todo:
        for attribute in todo.pop().attribute:
            for graph in _graphs(attribute):
                found.update(value.name for value in graph.output)
                for inner in graph.node:
                    found.update(inner.input)
                    todo.append(inner)
    found.discard("")
    return found


def _graphs(attribute: AttributeProto) -> list[GraphProto]:
    if attribute.type == AttributeProto.GRAPH:
        return [attribute.g]
    return list(attribute.graphs)


def _bytes(found: Type | None, shape: object) -> int | None:
    if not isinstance(found, TensorType):
        return None
    count = 1
    for size in shape:  # type: ignore[attr-defined]  # a Shape gives an array
        count *= int(size)
    return found.dtype.storage_bytes(count)
