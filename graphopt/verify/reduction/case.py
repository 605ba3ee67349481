"""A model with inputs that show a failure, and what makes two of them the same."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from onnx import ModelProto, TensorProto

from graphopt.ir import DType, Graph, Model, Node, TensorType, Type, Value, clone_model
from graphopt.runtime.base import Datum, Feeds
from graphopt.serde import constant_to_proto, emit_model, tensor_header

__all__ = ["Case", "light_proto", "node_key", "type_of_data"]

_SHOWN_BYTES: Final = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A model and the inputs on which its failure shows.

    Attributes:
        model: the model; a case that was made is not edited any more, copies of it are.
        samples: sets of inputs by name; empty where the model runs on none, or needs none to fail.
    """

    model: Model
    samples: tuple[Feeds, ...] = ()

    @property
    def node_count(self) -> int:
        """Nodes in all graphs of the model."""
        return self.model.node_count

    def copy(self) -> Case:
        """The same with a model of its own, to edit."""
        return Case(clone_model(self.model), self.samples)

    def with_samples(self, samples: tuple[Feeds, ...]) -> Case:
        """The same model with other inputs."""
        return replace(self, samples=samples)

    def fitted(self) -> Case:
        """The same, without inputs for what the model does not take any more."""
        known = {value.name for value in self.model.graph.inputs}
        return self.with_samples(
            tuple({name: value for name, value in feeds.items() if name in known} for feeds in self.samples)
        )


def node_key(node: Node) -> str:
    """What a node of one graph is called when it is looked for in a copy: its first output with a name, or else its own name."""
    return next((f"%{value.name}" for value in node.outputs if value.name), node.name)


def keyed_nodes(graph: Graph) -> dict[str, Node]:
    """The nodes of a graph by key, in order; of nodes without any name only one is found."""
    return {node_key(node): node for node in graph.nodes}


def light_proto(model: Model) -> ModelProto:
    """The message of a model with digests in the place of large weights: enough for a checker, and to tell models apart."""
    return emit_model(model, lineage=False, place=_light)


def _light(value: Value) -> TensorProto:
    constant = value.const
    assert constant is not None, "an initializer has constant data"
    if constant.dtype is DType.STRING or constant.is_sparse or constant.nbytes <= _SHOWN_BYTES:
        return constant_to_proto(constant, value.name, keep_external=False)
    proto = tensor_header(constant, value.name)
    proto.raw_data = constant.digest()
    return proto


def digest(case: Case, proto: ModelProto) -> bytes:
    """Equal for cases that are the same."""
    state = hashlib.sha256(proto.SerializeToString(deterministic=True))
    for feeds in case.samples:
        state.update(b"sample")
        for name, value in feeds.items():
            state.update(name.encode())
            _feed(state, value)
    return state.digest()


def _feed(state: hashlib._Hash, value: Datum) -> None:
    if isinstance(value, list):
        state.update(b"list")
        for item in value:
            _feed(state, item)
    elif isinstance(value, np.ndarray) and value.dtype != object:
        state.update(f"{value.dtype}{value.shape}".encode())
        state.update(np.ascontiguousarray(value).tobytes())
    else:
        state.update(repr(value.tolist() if isinstance(value, np.ndarray) else value).encode())


def type_of_data(data: list[Datum]) -> Type | None:
    """The type of a tensor that had these values: sizes that differ are left open; ``None`` for anything but tensors of one rank."""
    arrays = [item for item in data if isinstance(item, np.ndarray)]
    if not arrays or len(arrays) != len(data) or len({(array.dtype, array.ndim) for array in arrays}) != 1:
        return None
    sizes = zip(*(array.shape for array in arrays), strict=True)
    shape = tuple(found[0] if len(set(found)) == 1 else None for found in sizes)
    return TensorType(DType.from_numpy(arrays[0].dtype), shape)
