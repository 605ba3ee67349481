"""Other weights for an engine that was built refittable: the network of the new model must be the old one but for its floats.

Only a device that loads the engine can refit it. Layers are told apart by their names, which graphopt makes unique. What is part of
layers, and not among the weights that the library exchanges, must be equal: settings, integers, and floats that an engine keeps for good.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from graphopt.backends.tensorrt.network import BuiltNetwork
from graphopt.backends.tensorrt.protocols import Layer
from graphopt.errors import ExecutionError

__all__ = ["refit_engine", "structure_of", "weights_of"]

#: Roles of weights that the library exchanges, and what they are called as attributes of layers, by kind of layer.
_WEIGHTS: Final = {
    "CONVOLUTION": {"KERNEL": "kernel", "BIAS": "bias"},
    "DECONVOLUTION": {"KERNEL": "kernel", "BIAS": "bias"},
    "SCALE": {"SHIFT": "shift", "SCALE": "scale"},
    "CONSTANT": {"CONSTANT": "weights"},
}
#: Attributes of layers that say nothing of what they compute.
_UNRELATED: Final = ("metadata", "name")


def structure_of(built: BuiltNetwork) -> str:
    """A digest of all that a network is but for its floats: layers with names, kinds and settings, what they read, shapes, integers."""
    state = hashlib.sha256()
    for name, kind, layer in _layers(built):
        given = [layer.get_input(item) for item in range(layer.num_inputs)]
        reads = ["" if tensor is None else str(tensor.name) for tensor in given]
        made = [layer.get_output(item) for item in range(layer.num_outputs)]
        gives = [(str(tensor.name), str(tensor.dtype), tuple(tensor.shape)) for tensor in made]
        told = (name, kind, reads, gives, list(_settings(built, layer, kind)))
        state.update(repr(told).encode("utf-8", "surrogateescape"))
    return state.hexdigest()


def weights_of(built: BuiltNetwork) -> dict[str, str]:
    """Short digests of the floats of a network, by layer and role."""
    found = {}
    for name, kind, layer in _layers(built):
        for role, attribute in _WEIGHTS.get(kind, {}).items():
            array = _numbers(built, name, layer, attribute)
            if array is not None and not _is_integer(array):
                found[f"{name} {role}"] = _digest(array)[:16]
    return found


def refit_engine(built: BuiltNetwork, engine: Any, before: Mapping[str, str]) -> bytes:  # noqa: ANN401  ICudaEngine
    """An engine with the weights of a network.

    Args:
        built: the network of the model with new weights.
        engine: one that was built refittable, of a network with the same structure, loaded.
        before: digests of the weights that it has, from :func:`weights_of`.

    Raises:
        ExecutionError: if the library does not refit, keeps a weight that is another one now, or refuses one; with its own message.
    """
    api, log, module = built.api, built.log, built.api.module
    if not hasattr(module, "Refitter"):
        raise ExecutionError(f"{api.name} {api.version} exchanges no weights; build the engine again: graphopt build")
    log.errors()
    if not engine.refittable:
        raise ExecutionError("the engine was built with its weights for good; build it again with --refittable")
    refitter = module.Refitter(engine, log.logger)
    names, roles = refitter.get_all()
    wanted = {f"{name} {_word(role)}": (str(name), role) for name, role in zip(names, roles, strict=True)}
    now = weights_of(built)
    kept = [key for key, digest in now.items() if key not in wanted and before.get(key) != digest]
    if kept:
        raise ExecutionError(
            f"the engine keeps {len(kept)} weights for good that are others now, such as {kept[0]!r}; build it again: graphopt build"
        )
    layers = {name: (kind, layer) for name, kind, layer in _layers(built)}
    for name, role in wanted.values():
        if not refitter.set_weights(name, role, _given(built, layers, name, _word(role))):
            raise ExecutionError(
                f"the weights of layer {name!r} are refused: {log.errors() or 'the library does not say why'}"
            )
    if not refitter.refit_cuda_engine():
        raise ExecutionError(f"the engine takes no other weights: {log.errors() or 'the library does not say why'}")
    config = engine.create_serialization_config()
    if "INCLUDE_REFIT" in module.SerializationFlag.__members__:
        config.set_flag(module.SerializationFlag.INCLUDE_REFIT)  # so that it can be refitted again
    return bytes(engine.serialize_with_config(config))


def _word(member: object) -> str:
    """Name of a member of an enumeration."""
    return str(member).rpartition(".")[2]


def _layers(built: BuiltNetwork) -> Iterator[tuple[str, str, Layer]]:
    """Name, kind and layer, each of its own class where the library has one."""
    network, module = built.network, built.api.module
    classes = {name.lower(): name for name in dir(module) if name.startswith("I") and name.endswith("Layer")}
    for place in range(network.num_layers):
        layer = network.get_layer(place)
        kind = _word(layer.type)
        word = kind.replace("_", "").lower()
        found = classes.get(f"i{word}layer") or classes.get(f"iif{word}layer")
        if found is None:
            raise ExecutionError(
                f"layers of kind {kind} are not understood, so the engine can't be refitted; build without --refittable"
            )
        layer.__class__ = getattr(module, found)
        yield layer.name, kind, layer


def _settings(built: BuiltNetwork, layer: Layer, kind: str) -> Iterator[tuple[str, str]]:
    """What a layer is told beside its inputs, and numbers that the library does not exchange."""
    roles = _WEIGHTS.get(kind, {})
    for name in dir(type(layer)):
        if name.startswith("_") or name in _UNRELATED or not isinstance(getattr(type(layer), name), property):
            continue
        if name in roles.values():
            array = _numbers(built, layer.name, layer, name)
            if array is not None:
                yield name, _digest(array) if _is_integer(array) else f"{array.dtype} {array.size}"
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some are deprecated
            try:
                value = getattr(layer, name)
            except (AttributeError, RuntimeError, TypeError):
                continue  # an input says it
        yield name, _digest(value) if isinstance(value, np.ndarray) else _plain(value)


def _plain(value: object) -> str:
    """A value as text that is the same in every process."""
    text = repr(value)
    return type(value).__name__ if " at 0x" in text else text


def _numbers(built: BuiltNetwork, name: str, layer: Layer, attribute: str) -> Any:  # noqa: ANN401  an array
    """Weights of a layer as an array, ``None`` if it has none there."""
    if name in built.stored:
        return np.asarray(built.stored[name])
    found = getattr(layer, attribute)
    return found if isinstance(found, np.ndarray) and found.size else None


def _is_integer(array: Any) -> bool:  # noqa: ANN401  as above
    return array.dtype.kind in "iub"


def _digest(array: Any) -> str:  # noqa: ANN401  as above
    return hashlib.sha256(
        repr((str(array.dtype), array.size)).encode() + np.ascontiguousarray(array).tobytes()
    ).hexdigest()


def _given(built: BuiltNetwork, layers: Mapping[str, tuple[str, Layer]], name: str, role: str) -> Any:  # noqa: ANN401  the library
    """The weights of a network for a layer and role of an engine."""
    kind, layer = layers.get(name, ("", None))
    attribute = _WEIGHTS.get(kind, {}).get(role)
    if layer is None or attribute is None:
        raise ExecutionError(
            f"the engine wants {role.lower()} of layer {name!r}, which the new model does not have; build it again"
        )
    pointed = built.emitter.pointed(name)
    return getattr(layer, attribute) if pointed is None else pointed
