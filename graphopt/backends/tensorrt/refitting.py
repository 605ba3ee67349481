"""Other weights for an engine that was built refittable: the network of the new model must be the old one but for its numbers.

Only a device that loads the engine can refit it. Layers are told apart by their names, which graphopt makes unique.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from graphopt.backends.tensorrt.network import BuiltNetwork
from graphopt.backends.tensorrt.protocols import Layer, Network
from graphopt.errors import ExecutionError

__all__ = ["refit_engine", "structure_of"]

#: Classes of layers with weights, and what their roles are called as attributes.
_CLASSES: Final = {
    "CONVOLUTION": "IConvolutionLayer",
    "DECONVOLUTION": "IDeconvolutionLayer",
    "SCALE": "IScaleLayer",
    "CONSTANT": "IConstantLayer",
}
_ROLES: Final = {"KERNEL": "kernel", "BIAS": "bias", "SHIFT": "shift", "SCALE": "scale", "CONSTANT": "weights"}


def structure_of(network: Network) -> str:
    """A digest of the layers of a network: names, kinds, what they read, shapes and element types; not of weights."""
    state = hashlib.sha256()
    for place in range(network.num_layers):
        layer = network.get_layer(place)
        given = [layer.get_input(item) for item in range(layer.num_inputs)]
        reads = ["" if tensor is None else str(tensor.name) for tensor in given]
        made = [layer.get_output(item) for item in range(layer.num_outputs)]
        gives = [(str(tensor.name), str(tensor.dtype), tuple(tensor.shape)) for tensor in made]
        state.update(repr((layer.name, str(layer.type), reads, gives)).encode("utf-8", "surrogateescape"))
    return state.hexdigest()


def refit_engine(built: BuiltNetwork, data: bytes) -> bytes:
    """An engine with the weights of a network.

    Args:
        built: the network of the model with new weights.
        data: an engine that was built refittable, of a network with the same structure.

    Raises:
        ExecutionError: if the library does not refit, loads no engine here, or refuses a weight; with its own message.
    """
    api, log, module = built.api, built.log, built.api.module
    if not hasattr(module, "Refitter"):
        raise ExecutionError(f"{api.name} {api.version} exchanges no weights; build the engine again: graphopt build")
    log.errors()
    runtime = module.Runtime(log.logger)
    engine = None if runtime is None else runtime.deserialize_cuda_engine(data)
    if engine is None:
        raise ExecutionError(
            f"the engine can't be loaded here, and only where it runs its weights can be exchanged: "
            f"{log.errors() or 'the library does not say why'}"
        )
    if not engine.refittable:
        raise ExecutionError("the engine was built with its weights for good; build it again with --refittable")
    refitter = module.Refitter(engine, log.logger)
    layers = _layers(built)
    names, roles = refitter.get_all()
    for name, role in zip(names, roles, strict=True):
        weights = _weights(built, layers, name, str(role).rpartition(".")[2])
        if not refitter.set_weights(name, role, weights):
            raise ExecutionError(
                f"the weights of layer {name!r} are refused: {log.errors() or 'the library does not say why'}"
            )
    if not refitter.refit_cuda_engine():
        raise ExecutionError(f"the engine takes no other weights: {log.errors() or 'the library does not say why'}")
    config = engine.create_serialization_config()
    if hasattr(module, "SerializationFlag") and "INCLUDE_REFIT" in module.SerializationFlag.__members__:
        config.set_flag(module.SerializationFlag.INCLUDE_REFIT)  # so that it can be refitted again
    return bytes(engine.serialize_with_config(config))


def _layers(built: BuiltNetwork) -> dict[str, Layer]:
    network = built.network
    return {layer.name: layer for layer in (network.get_layer(place) for place in range(network.num_layers))}


def _weights(built: BuiltNetwork, layers: dict[str, Layer], name: str, role: str) -> Any:  # noqa: ANN401  the library
    layer = layers.get(name)
    kind = None if layer is None else str(layer.type).rpartition(".")[2]
    if layer is None or kind not in _CLASSES or role not in _ROLES:
        raise ExecutionError(
            f"the engine wants {role.lower()} of layer {name!r}, which the new model does not have; build it again"
        )
    if name in built.stored:
        kept = built.emitter.pointed(name)
        if kept is not None:
            return kept
    layer.__class__ = getattr(built.api.module, _CLASSES[kind])
    return getattr(layer, _ROLES[role])
