"""Computes results of the constant region: in numpy as far as that goes, the rest in one run of the executor.

Large constants are fed to the executor, small ones are part of the model that it runs, as some operators demand. When a run fails, it
is cut shorter until the operator that can't be run is found; it and others like it are reported, and the rest is computed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from graphopt.errors import ExecutionError
from graphopt.ir import Array, Constant, Graph, Model, Node, TensorType, Type, Value, clone_graph
from graphopt.ir.attributes import Attribute
from graphopt.passes import Executor
from graphopt.transforms.constant_folding.kernels import run_kernel
from graphopt.transforms.constant_folding.region import Region

__all__ = ["Evaluation"]

logger = logging.getLogger(__name__)

_FED_FROM = 1 << 10
_ATTEMPTS = 8
_IR_VERSION = 10


class Evaluation:
    """Computes values of a region.

    Args:
        region: the constant region; results are added to ``region.arrays``.
        executor: runs what numpy does not, ``None`` when nothing can.
        max_bytes: largest result in bytes.
        kinds: operators with their input types that are known to fail; grows.

    Attributes:
        refused: nodes that can't be computed.
        runs: how often the executor ran.
    """

    def __init__(self, region: Region, executor: Executor | None, max_bytes: int, kinds: set[object]) -> None:
        self._region = region
        self._executor = executor
        self._max_bytes = max_bytes
        self._kinds = kinds
        self.refused: set[Node] = set()
        self.runs = 0

    def compute(self, values: Sequence[Value]) -> None:
        """Compute values; those that need a node that can't be computed stay unknown."""
        region = self._region
        scratch: dict[Value, Array] = {}
        for node in self._cone(values, region.arrays):
            inputs = [None if value is None else self._array(value, scratch) for value in node.inputs]
            is_known = all(a is not None or value is None for a, value in zip(inputs, node.inputs, strict=True))
            if not is_known and not _divides_integers(node):
                continue
            floats = self._executor is not None
            found = run_kernel(node, inputs, self._max_bytes, floats=floats) if is_known else None
            if found is None and (self._executor is None or _divides_integers(node)):
                self.refused.add(node)
            elif found is not None:
                scratch.update(zip(node.outputs, found, strict=False))
        region.arrays.update((value, scratch[value]) for value in values if value in scratch)
        left = [value for value in values if value not in region.arrays]
        if left and self._executor is not None:
            self._run_what_can_run(left, scratch)

    def _array(self, value: Value, scratch: dict[Value, Array]) -> Array | None:
        found = scratch.get(value)
        return self._region.array_of(value) if found is None else found

    def _cone(self, values: Sequence[Value], known: dict[Value, Array]) -> list[Node]:
        """The nodes that values need, in order."""
        nodes = self._region.nodes
        needed: set[Node] = set()
        todo = [value for value in values if value not in known]
        while todo:
            node = todo.pop().producer
            if node is None or node in needed or node not in nodes:
                continue
            needed.add(node)
            todo.extend(value for value in _reads(node) if value not in known)
        return sorted(needed, key=nodes.__getitem__)

    def _run_what_can_run(self, values: Sequence[Value], scratch: dict[Value, Array]) -> None:
        """Run all that needs no operator known to fail; when that fails too, find out which one does, and try again."""
        for _ in range(_ATTEMPTS):
            cone = self._cone(values, scratch)
            tainted = self._tainted(cone)
            values = [value for value in values if value.producer not in tainted]
            if not values:
                return
            cone = [node for node in self._cone(values, scratch) if node not in tainted]
            try:
                self._region.arrays.update(self._run(cone, values, scratch))
                return
            except ExecutionError as err:
                logger.debug("a constant region of %d nodes can't be run: %s", len(cone), err)
            self._blame(cone, values, scratch)
        self.refused.update(cone)

    def _tainted(self, cone: Sequence[Node]) -> set[Node]:
        """The nodes that need one that can't be run; notes the latter."""
        found: set[Node] = set()
        for node in cone:
            if node in self.refused or self._kind(node) in self._kinds:
                self.refused.add(node)
                found.add(node)
            elif any(value.producer in found for value in _reads(node)):
                found.add(node)
        return found

    def _blame(self, cone: list[Node], values: Sequence[Value], scratch: dict[Value, Array]) -> None:
        """Find the first node that can't be run: shorter and shorter beginnings are tried."""
        runs, fails = 0, len(cone)
        while fails - runs > 1:
            middle = (runs + fails) // 2
            try:
                self._run(cone[:middle], _leaving(cone, middle, values), scratch)
                runs = middle
            except ExecutionError:
                fails = middle
        culprit = cone[fails - 1]
        self.refused.add(culprit)
        self._kinds.add(self._kind(culprit))
        logger.debug("%r (%s) can't be run and is not folded", culprit.name, culprit.op)

    @staticmethod
    def _kind(node: Node) -> object:
        return node.op, tuple([None if value is None else value.dtype for value in node.inputs])

    def _run(self, cone: Sequence[Node], values: Sequence[Value], scratch: dict[Value, Array]) -> dict[Value, Array]:
        """Run nodes as a model of their own."""
        assert self._executor is not None
        model, feeds, outputs = self._model(cone, values, scratch)
        self.runs += 1
        found = self._executor.run(model, feeds)
        return {value: found[name] for value, name in zip(values, outputs, strict=True)}

    def _model(
        self, cone: Sequence[Node], values: Sequence[Value], scratch: dict[Value, Array]
    ) -> tuple[Model, dict[str, Array], list[str]]:
        graph = Graph("constant_region")
        stand_in: dict[Value, Value] = {}
        feeds: dict[str, Array] = {}

        def copy_of(value: Value) -> Value:
            found = stand_in.get(value)
            if found is None:
                found = stand_in[value] = self._constant_copy(value, f"v{len(stand_in)}", graph, feeds, scratch)
            return found

        for node in cone:
            inputs = [None if value is None else copy_of(value) for value in node.inputs]
            for inner in node.subgraphs:
                for value in _captured(inner):
                    copy_of(value)  # so that the copy of the subgraph finds it
            attributes = {
                name: Attribute(item.kind, clone_graph(item.value, stand_in)[0])
                if isinstance(item.value, Graph)
                else item
                for name, item in node.attributes.items()
            }
            outputs = [
                Value(f"v{len(stand_in)}_{i}" if v.name else "", _kind_of(v)) for i, v in enumerate(node.outputs)
            ]
            stand_in.update(zip(node.outputs, outputs, strict=True))
            graph.append(Node(node.op_type, inputs, outputs, attributes, domain=node.domain))
        for value in values:
            graph.add_output(stand_in[value])
        owner = cone[0].graph.owner if cone[0].graph is not None else None
        assert owner is not None
        version = max(_IR_VERSION, owner.ir_version if isinstance(owner, Model) else 0)
        model = Model(graph, dict(owner.opset_imports), version)
        model.reserve_names()
        return model, feeds, [stand_in[value].name for value in values]

    def _constant_copy(
        self, value: Value, name: str, graph: Graph, feeds: dict[str, Array], scratch: dict[Value, Array]
    ) -> Value:
        """A constant or known result in the model that is run."""
        constant = self._region.constant_of(value)
        if constant is None:
            array = self._array(value, scratch)
            assert array is not None, f"{value!r} is not known"
            constant = Constant(array)
        if constant.nbytes < _FED_FROM and not constant.is_sparse:
            return graph.add_initializer(Value(name, constant.type, constant))
        feeds[name] = constant.numpy()
        return graph.add_input(Value(name, TensorType(constant.dtype, constant.shape)))


def _divides_integers(node: Node) -> bool:
    """Whether a node may divide by zero, which ends the process of some runtimes, is an error in others and a number in the rest."""
    return node.op in ("Div", "Mod") and (node.output.dtype is None or node.output.dtype.is_integer)


def _kind_of(value: Value) -> Type | None:
    """The type of a value without its shape, which is there to be found out."""
    return TensorType(value.type.dtype) if isinstance(value.type, TensorType) else value.type


def _reads(node: Node) -> list[Value]:
    """What a node reads, in its subgraphs too."""
    read = [value for value in node.inputs if value is not None]
    for graph in node.subgraphs:
        read += _captured(graph)
    return read


def _captured(graph: Graph) -> list[Value]:
    """Values that a subgraph reads from around it."""
    inside = set(graph.walk_graphs())
    read = [value for inner in inside for node in inner.nodes for value in node.inputs if value is not None]
    read += [value for inner in inside for value in inner.outputs]
    return list(dict.fromkeys(value for value in read if value.home not in inside))


def _leaving(cone: Sequence[Node], count: int, last: Sequence[Value]) -> list[Value]:
    """What the first nodes of a cone give to the others, and to those who asked."""
    first = set(cone[:count])
    read = [value for node in cone[count:] for value in _reads(node)]
    return list(dict.fromkeys(value for value in (*read, *last) if value.producer in first))
