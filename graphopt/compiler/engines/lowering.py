"""From an optimized model to a network, by the backend with the converters of all plugins."""

from __future__ import annotations

from graphopt.backends.tensorrt.api import Api
from graphopt.backends.tensorrt.backend import TensorRtBackend
from graphopt.backends.tensorrt.network import BuiltNetwork
from graphopt.compiler.environment import Environment
from graphopt.ir import Model

__all__ = ["lower"]


def lower(environment: Environment, model: Model, api: Api, *, refittable: bool = False) -> BuiltNetwork:
    """The network of a legalized model.

    Args:
        environment: where converters come from.
        model: it; not changed.
        api: the library.
        refittable: whether weights are to be exchanged in the engine.

    Raises:
        UnsupportedOpError: if a node has no layers.
    """
    backend = environment.backend("tensorrt")
    assert isinstance(backend, TensorRtBackend), "the built-in backend of that name"
    return backend.network(model, api, refittable=refittable)
