"""A TensorRT library whose engines run without a GPU: they compute what their networks mean, by the evaluator.

With :class:`~graphopt.testing.tensorrt.host_cuda.HostCuda` as the device, what runs engines on a GPU runs on it too, with the same calls:
loading, profiles, copies, streams, graphs, outputs of unknown size. Engines are really built; only one that was built by the same library
object can be loaded. Networks with constants that the library does not give back (bfloat16, float8, int4) are built, not run.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphopt.backends.tensorrt.api import Api, load
from graphopt.errors import ExecutionError
from graphopt.ir import Array
from graphopt.testing.tensorrt.evaluator import NotEvaluated, evaluate
from graphopt.testing.tensorrt.reading import numpy_dtype

__all__ = ["fake_api"]


def fake_api(*, late_shapes: bool = False) -> Api:
    """The library that is installed, with a runtime that needs no GPU.

    Args:
        late_shapes: whether sizes of outputs are told only while an engine runs, as of those that depend on data.

    Raises:
        ExecutionError: if no library is installed.
    """
    return Api(_Library(load().module, late_shapes=late_shapes))


class _Library:
    """Everything but ``Builder`` and ``Runtime`` is the library's own."""

    def __init__(self, module: Any, *, late_shapes: bool) -> None:  # noqa: ANN401  the library
        self._module = module
        self.late_shapes = late_shapes
        self.built: dict[str, _Built] = {}

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever the library has
        return getattr(self._module, name)

    def Builder(self, logger: object) -> _Builder:  # noqa: N802  the library's name
        """What makes networks and engines."""
        return _Builder(self, self._module.Builder(logger))

    def Runtime(self, logger: Any) -> _Runtime:  # noqa: ANN401, N802  the library's name
        """What loads engines."""
        return _Runtime(self, logger)


class _Built:
    """A network of which an engine was built, with the profiles that it was built for."""

    def __init__(self, network: Any, profiles: Sequence[Any], builder: object) -> None:  # noqa: ANN401  of the library
        self.network = network
        self.profiles = list(profiles)
        self._builder = builder  # lives as long as its networks
        self.inputs = {(item := network.get_input(place)).name: item for place in range(network.num_inputs)}
        self.outputs = {(item := network.get_output(place)).name: item for place in range(network.num_outputs)}
        self.tensors = self.inputs | self.outputs


class _Builder:
    def __init__(self, library: _Library, builder: Any) -> None:  # noqa: ANN401  IBuilder
        self._library, self._inner = library, builder
        self._profiles: list[Any] = []

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever the builder has
        return getattr(self._inner, name)

    def create_optimization_profile(self) -> object:
        """A profile, which is noted."""
        found = self._inner.create_optimization_profile()
        self._profiles.append(found)
        return found

    def build_serialized_network(self, network: object, config: object) -> Any:  # noqa: ANN401  IHostMemory
        """An engine, whose network is noted."""
        made = self._inner.build_serialized_network(network, config)
        if made is not None:
            digest = hashlib.sha256(bytes(made)).hexdigest()
            self._library.built[digest] = _Built(network, self._profiles, self._inner)
        return made


class _Runtime:
    engine_header_size = 64

    def __init__(self, library: _Library, logger: Any) -> None:  # noqa: ANN401  ILogger
        self._library, self._logger = library, logger

    def get_engine_validity(self, head: bytes) -> tuple[object, int]:
        """Whether some bytes are the head of an engine."""
        module = self._library
        fine = len(head) == self.engine_header_size and head[1:4] == b"trt"
        flags = 0 if fine else int(module.EngineInvalidityDiagnostics.MALFORMED_ENGINE)
        return (module.EngineValidity.VALID if fine else module.EngineValidity.INVALID), flags

    def deserialize_cuda_engine(self, data: bytes) -> _Engine | None:
        """The engine, if this library built it."""
        found = self._library.built.get(hashlib.sha256(data).hexdigest())
        if found is None:
            self._logger.log(self._library.ILogger.Severity.ERROR, "these bytes were not built here")
            return None
        return _Engine(self._library, found)


class _Engine:
    def __init__(self, library: _Library, built: _Built) -> None:
        self.library, self.built = library, built
        self.num_io_tensors = len(built.tensors)
        self.num_optimization_profiles = max(len(built.profiles), 1)

    def get_tensor_name(self, place: int) -> str:
        return str(list(self.built.tensors)[place])

    def get_tensor_mode(self, name: str) -> object:
        modes = self.library.TensorIOMode
        return modes.INPUT if name in self.built.inputs else modes.OUTPUT

    def get_tensor_dtype(self, name: str) -> object:
        return self.built.tensors[name].dtype

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.built.tensors[name].shape)

    def get_tensor_location(self, name: str) -> object:
        places = self.library.TensorLocation
        return places.HOST if self.built.tensors[name].is_shape_tensor else places.DEVICE

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        found = self.built.profiles[profile].get_shape(name) if self.built.profiles else []
        return [tuple(item) for item in found] or [self.get_tensor_shape(name)] * 3

    def create_runtime_config(self) -> _Config:
        return _Config()

    def create_execution_context(self, config: object = None) -> _Context:
        return _Context(self, config if isinstance(config, _Config) else None)


class _Config:
    cuda_graph_strategy: object = None
    cache: _Cache | None = None

    def create_runtime_cache(self) -> _Cache:
        return _Cache()

    def set_runtime_cache(self, cache: _Cache) -> bool:
        self.cache = cache
        return True


class _Cache:
    """Shapes that were run, in place of the kernels for them."""

    _HEAD = b"kernels "

    def __init__(self) -> None:
        self._shapes: list[str] = []

    def deserialize(self, content: bytes) -> bool:
        if not content.startswith(self._HEAD):
            return False
        self._shapes = content[len(self._HEAD) :].decode().split("; ")
        return True

    def serialize(self) -> bytes:
        return self._HEAD + "; ".join(self._shapes).encode()

    def compile(self, shapes: object) -> None:
        if str(shapes) not in self._shapes:
            self._shapes.append(str(shapes))


class _Context:
    def __init__(self, engine: _Engine, config: _Config | None = None) -> None:
        self._engine = engine
        self._cache = None if config is None else config.cache
        self._profile = 0
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._allocators: dict[str, Any] = {}
        self._known: dict[tuple[tuple[int, ...], ...], dict[str, tuple[int, ...]]] = {}

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        self._profile = profile
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = self._engine.get_tensor_profile_shape(name, self._profile)
        self._shapes[name] = shape
        return all(a <= b <= c for a, b, c in zip(least, shape, most, strict=True))

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def set_output_allocator(self, name: str, allocator: object) -> bool:
        self._allocators[name] = allocator
        return True

    def infer_shapes(self) -> list[str]:
        return [name for name in self._engine.built.inputs if name not in self._shapes]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        stated = self._engine.get_tensor_shape(name)
        if -1 not in stated or self._engine.library.late_shapes:
            return stated
        given = tuple(self._shapes.values())
        if given not in self._known:
            self._known[given] = {each: array.shape for each, array in self._computed().items()}
        return self._known[given][name]

    def _computed(self) -> dict[str, Array]:
        built = self._engine.built
        api = Api(self._engine.library)
        feeds = {}
        for name, tensor in built.inputs.items():
            array: Array = np.empty(self._shapes[name], numpy_dtype(api, tensor.dtype))
            if array.nbytes:
                ctypes.memmove(array.ctypes.data, self._addresses[name], array.nbytes)
            feeds[name] = array
        try:
            return evaluate(api, built.network, feeds)
        except NotEvaluated as err:
            raise ExecutionError(f"the evaluator can't compute the network: {err}") from err

    def execute_async_v3(self, stream: int) -> bool:
        if self._cache is not None:
            self._cache.compile(tuple(self._shapes.values()))
        for name, array in self._computed().items():
            kept = np.array(array, order="C")
            allocator = self._allocators.get(name)
            address = self._addresses.get(name, 0)
            if allocator is not None:
                address = allocator.reallocate_output_async(name, 0, kept.nbytes, 256, stream)
                if not address:
                    return False
                allocator.notify_shape(name, kept.shape)
            if kept.nbytes:
                ctypes.memmove(address, kept.ctypes.data, kept.nbytes)
        return True
