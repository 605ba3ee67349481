"""Networks and engines of TensorRT as the benchmarks make them: lowered layer by layer, or by NVIDIA's ONNX parser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import ModelProto

__all__ = ["Made", "lowered", "parsed", "refusal"]


@dataclass(frozen=True)
class Made:
    """A network.

    Attributes:
        builder: ``IBuilder``.
        log: what the library says.
        network: ``INetworkDefinition``.
        stored: constants that the library does not give back, by the name of their layer.
        names: names of tensors by the name of the value that they are, where they are known.
        keep: what has to live as long as it does.
    """

    builder: Any
    log: Any
    network: Any
    stored: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    keep: object = None


def lowered(model: Any) -> Made:  # noqa: ANN401  what a frontend takes, or the IR of what is legal already
    """The network of a model by graphopt.

    Raises:
        GraphoptError: if it can't be made.
    """
    from graphopt.backends.tensorrt.api import load
    from graphopt.backends.tensorrt.backend import TensorRtBackend
    from graphopt.compiler.environment import Environment

    environment = Environment()
    backend = environment.backend("tensorrt")
    assert isinstance(backend, TensorRtBackend)
    built = backend.network(environment.legalized(environment.lift(model), "tensorrt"), load())
    names = {value.name: tensor.name for value, tensor in built.emitter.tensors.items()}
    return Made(built.builder, built.log, built.network, built.stored, names, built)


def parsed(model: ModelProto) -> Made:
    """The network of a model by NVIDIA's ONNX parser.

    Raises:
        ValueError: if it does not parse, with the parser's first reason.
    """
    from graphopt.backends.tensorrt.api import load

    api = load()
    log = api.log()
    builder = api.builder(log)
    network = api.network(builder)
    parser = api.module.OnnxParser(network, log.logger)
    if not parser.parse(model.SerializeToString()):
        raise ValueError(str(parser.get_error(0).desc()) if parser.num_errors else "it does not parse")
    return Made(builder, log, network)


def refusal(made: Made, feeds: Mapping[str, Any], capabilities: Sequence[str] = ()) -> str:
    """Why no engine is built for the sizes of some inputs, ``""`` when one is.

    Args:
        made: the network.
        feeds: arrays by name of the input.
        capabilities: compute capabilities, all that the library has if there are none.
    """
    from graphopt.backends.tensorrt.api import load

    config = load().config(made.builder, capabilities)
    profile = None
    for place in range(made.network.num_inputs):
        tensor = made.network.get_input(place)
        array = np.asarray(feeds[tensor.name])
        if -1 in tuple(tensor.shape):
            profile = profile or made.builder.create_optimization_profile()
            profile.set_shape(tensor.name, array.shape, array.shape, array.shape)
        if tensor.is_shape_tensor:  # its numbers are sizes
            profile = profile or made.builder.create_optimization_profile()
            numbers = [int(item) for item in array.reshape(-1)]
            profile.set_shape_input(tensor.name, numbers, numbers, numbers)
    if profile is not None:
        config.add_optimization_profile(profile)
    made.log.errors()
    engine = made.builder.build_serialized_network(made.network, config)
    return "" if engine is not None else made.log.errors() or "no engine"
