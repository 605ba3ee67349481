"""From a legalized model to a network: inputs with names of their sizes, layers node by node, outputs in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphopt.backends.tensorrt.api import Api, Log
from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.lowering import lower_graph
from graphopt.backends.tensorrt.protocols import Network
from graphopt.backends.tensorrt.registry import Registry
from graphopt.errors import UnsupportedOpError
from graphopt.ir import Array, DType, Model, TensorType, Value

__all__ = ["BuiltNetwork", "build_network"]


@dataclass
class BuiltNetwork:
    """A network, with what has to live as long as it does.

    Attributes:
        api: the library.
        builder: ``IBuilder`` that made it.
        log: what TensorRT says.
        network: ``INetworkDefinition``.
        stored: constants whose numbers can't be read back, by the name of their layer.
        dtypes: element types of inputs and outputs in the model where TensorRT has another one, by name.
        emitter: keeps the weights alive.
    """

    api: Api
    builder: Any
    log: Log
    network: Network
    stored: Mapping[str, Array]
    dtypes: Mapping[str, DType]
    emitter: Emitter = field(repr=False)


def build_network(model: Model, api: Api, registry: Registry, *, refittable: bool = False) -> BuiltNetwork:
    """The network of a legalized model, strongly typed.

    Args:
        model: it; not changed. Types of inputs are known.
        api: the library.
        registry: converters.
        refittable: whether weights are to be exchanged in the engine.

    Raises:
        UnsupportedOpError: if a node can't be expressed, or an input has a type that TensorRT lacks.
        ExecutionError: if the library makes no builder.
    """
    log = api.log()
    builder = api.builder(log)
    network = api.network(builder)
    network.name = model.graph.name
    emitter = Emitter(api, log, network, registry, refittable=refittable)
    dtypes: dict[str, DType] = {}
    for value in model.graph.inputs:
        if not value.is_constant:
            _add_input(emitter, value, dtypes)
    lower_graph(emitter, model.graph)
    for value in model.graph.outputs:
        _mark_output(emitter, value, dtypes)
    return BuiltNetwork(api, builder, log, network, emitter.stored, dtypes, emitter)


def _add_input(e: Emitter, value: Value, dtypes: dict[str, DType]) -> None:
    kind = value.type
    if not isinstance(kind, TensorType) or kind.shape is None:
        raise UnsupportedOpError(f"input {value.name!r} is {kind}, expected a tensor of a known number of axes")
    if kind.dtype is DType.STRING:
        raise UnsupportedOpError(f"input {value.name!r} is of strings, which TensorRT does not have")
    dtype = e.at_edge(kind.dtype)
    if dtype is not kind.dtype:
        dtypes[value.name] = kind.dtype
    found = e.api.dtype(dtype)
    if found is None:
        raise UnsupportedOpError(f"input {value.name!r} is of {kind.dtype}, which TensorRT does not have")
    shape = [size if isinstance(size, int) else -1 for size in kind.shape]
    tensor = e.network.add_input(value.name, found, shape)
    if tensor is None:
        raise UnsupportedOpError(
            f"input {value.name!r}: TensorRT refused it: {e.log.errors() or 'it does not say why'}"
        )
    for axis, size in enumerate(kind.shape):
        if size is not None and not isinstance(size, int):
            tensor.set_dimension_name(axis, str(size))
    e.tensors[value] = e.cast(tensor, DType.INT32) if dtype is DType.UINT8 else tensor


def _mark_output(e: Emitter, value: Value, dtypes: dict[str, DType]) -> None:
    tensor = e.tensor(value)
    kind = value.type
    if isinstance(kind, TensorType):
        dtype = e.at_edge(kind.dtype)
        if dtype is not kind.dtype:
            dtypes[value.name] = kind.dtype
        if e.api.dtype(dtype) is not None:
            tensor = e.cast(tensor, dtype)
    if tensor.is_network_input or tensor.is_network_output:  # an output is made by a layer
        tensor = e.out(e.network.add_identity(tensor))
    tensor.name = value.name
    if tensor.name != value.name:
        raise UnsupportedOpError(
            f"output {value.name!r} has the name of an input, expected another one; rename it in the model"
        )
    e.network.mark_output(tensor)
