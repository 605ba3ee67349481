"""One engine, ready to run: inputs to the device, execution in a stream, outputs back.

Memory on the device is kept from run to run. Profiles are chosen by the shapes that are fed. An output whose size depends on data gets its
memory while the engine runs. With ``graphs``, runs of equal shapes are captured once as a CUDA graph and launched afterwards: by the
library where it does that itself (TensorRT-RTX), else here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from graphopt.backends.tensorrt.api import Api, Log
from graphopt.errors import ExecutionError
from graphopt.ir import Array
from graphopt.runtime.base import Feeds, LoadedModel, Outputs, check_feeds
from graphopt.runtime.tensorrt.bindings import Binding, bindings_of, shape_text
from graphopt.runtime.tensorrt.cuda import Cuda
from graphopt.runtime.tensorrt.kernel_cache import KernelCache
from graphopt.runtime.tensorrt.memory import DeviceMemory, Growing, growing_output

__all__ = ["EngineRunner"]

logger = logging.getLogger(__name__)

_Shapes = tuple[tuple[int, ...], ...]


class EngineRunner(LoadedModel):
    """An engine on a device.

    Args:
        engine: ``ICudaEngine``.
        api: the library.
        cuda: the device.
        log: what the library says goes there.
        declared: element types that the model has where the engine has others, by name.
        graphs: whether runs may be captured as CUDA graphs.
        cache: of kernels that the library compiles here; used by TensorRT-RTX.

    Raises:
        ExecutionError: if there is no memory for it on the device.
    """

    def __init__(
        self,
        engine: Any,  # noqa: ANN401  ICudaEngine
        api: Api,
        cuda: Cuda,
        log: Log,
        *,
        declared: Mapping[str, str],
        graphs: bool = False,
        cache: KernelCache | None = None,
    ) -> None:
        self._api, self._cuda, self._log = api, cuda, log
        self._cache = cache
        bindings = bindings_of(engine, api, declared)
        self._given = [item for item in bindings if item.is_input]
        self._made = [item for item in bindings if not item.is_input]
        self._inputs = tuple(item.spec for item in self._given)
        self._outputs = tuple(item.spec for item in self._made)
        self._graphs = graphs and not api.is_rtx and not any(item.on_host for item in bindings)
        self._engine: Any = engine
        self._context = self._make_context(engine, graphs=graphs)
        self._memory = DeviceMemory(cuda)
        self._host: dict[str, Array] = {}
        self._growing: dict[str, tuple[object, Growing]] = {}
        self._profile = 0
        self._captured: tuple[_Shapes, int | None] | None = None
        self._before: _Shapes | None = None
        self._last: tuple[_Shapes, bool] | None = None
        self._stream = cuda.stream()

    def _make_context(self, engine: Any, *, graphs: bool) -> Any:  # noqa: ANN401  IExecutionContext
        if self._api.is_rtx and (graphs or self._cache is not None):
            config = engine.create_runtime_config()
            if graphs:
                config.cuda_graph_strategy = self._api.enum("CudaGraphStrategy", "WHOLE_GRAPH_CAPTURE")
            if self._cache is not None:
                self._cache.add_to(config)
            found = engine.create_execution_context(config)
        else:
            found = engine.create_execution_context()
        if found is None:
            raise ExecutionError(
                f"the engine has no room on {self._cuda.name}: {self._log.errors() or 'the library does not say why'}"
            )
        return found

    def run(self, feeds: Feeds) -> Outputs:
        """Outputs by name.

        Raises:
            ExecutionError: if a feed does not fit, no profile has its shape, or the device fails.
        """
        if self._engine is None:
            raise ExecutionError("the runner is closed; make a new one")
        check_feeds(self, feeds)
        arrays = [item.fed(feeds[item.name]) for item in self._given]
        self._cuda.enter()
        shapes = tuple(array.shape for array in arrays)
        self._choose_profile(shapes)
        for item, array in zip(self._given, arrays, strict=True):
            self._feed(item, array)
        lacking = self._context.infer_shapes()
        if lacking:
            raise self._failed(f"shapes of {', '.join(lacking)} are not known")
        placed = [self._place(item) for item in self._made]
        self._last = (shapes, all(array is not None for array in placed))
        self._execute(shapes, fixed=self._last[1])
        arrays = [self._grown(item) if array is None else array for item, array in zip(self._made, placed, strict=True)]
        for item, array in zip(self._made, arrays, strict=True):
            if not item.on_host:
                self._cuda.to_host(array, self._address(item), self._stream)
        self._cuda.wait(self._stream)
        return {item.name: item.given(array) for item, array in zip(self._made, arrays, strict=True)}

    def run_again(self) -> float:
        """Compute what was fed last once more; the milliseconds that the device takes, copies from and to the host apart.

        Raises:
            ExecutionError: if nothing ran before, or the device fails.
        """
        if self._engine is None or self._last is None:
            raise ExecutionError("nothing ran before; run the engine first")
        shapes, fixed = self._last
        self._cuda.enter()
        begun = self._cuda.event(self._stream)
        self._execute(shapes, fixed=fixed)
        ended = self._cuda.event(self._stream)
        self._cuda.wait(self._stream)
        return self._cuda.milliseconds(begun, ended)

    def _choose_profile(self, shapes: _Shapes) -> None:
        count = max((len(item.ranges) for item in self._given), default=0)
        fits = [
            place
            for place in range(count)
            if all(item.accepts(shape, place) for item, shape in zip(self._given, shapes, strict=True))
        ]
        if count and not fits:
            raise ExecutionError(self._outside(shapes))
        if not fits or self._profile in fits:
            return
        if not self._context.set_optimization_profile_async(fits[0], self._stream):
            raise self._failed(f"profile {fits[0]} can't be chosen")
        self._cuda.wait(self._stream)
        self._profile = fits[0]

    def _outside(self, shapes: _Shapes) -> str:
        """Which input has a shape that the engine was not built for."""
        for item, shape in zip(self._given, shapes, strict=True):
            if not any(item.accepts(shape, place) for place in range(len(item.ranges))):
                ranges = " or ".join(f"{shape_text(least)} to {shape_text(most)}" for least, most in item.ranges)
                return (
                    f"input {item.name!r} has the shape {shape_text(shape)}, the engine is built for {ranges}; "
                    "build it for more: graphopt build --profile or --dim"
                )
        names = ", ".join(repr(item.name) for item in self._given)
        return (
            f"no profile of the engine has the shapes of {names} together; build one that has: graphopt build --profile"
        )

    def _feed(self, item: Binding, array: Array) -> None:
        if not self._context.set_input_shape(item.name, tuple(array.shape)):
            raise self._failed(f"input {item.name!r} can't have the shape {shape_text(array.shape)}")
        if item.on_host:
            address = array.ctypes.data
        else:
            address = self._memory.of(item.name, array.nbytes)
            self._cuda.to_device(address, array, self._stream)
        self._host[item.name] = array  # copies go on until the stream is waited for
        self._context.set_tensor_address(item.name, address)

    def _place(self, item: Binding) -> Array | None:
        """Room for an output, ``None`` when its size is not known before."""
        shape = tuple(int(size) for size in self._context.get_tensor_shape(item.name))
        if any(size < 0 for size in shape):
            if item.name not in self._growing:
                self._growing[item.name] = growing_output(self._api.module, self._memory)
            allocator, told = self._growing[item.name]
            told.shape = None
            self._context.set_output_allocator(item.name, allocator)
            return None
        if item.name in self._growing:
            del self._growing[item.name]
            self._context.set_output_allocator(item.name, None)
        array: Array = np.empty(shape, item.dtype.numpy)
        if item.on_host:
            array = self._host[item.name] = np.empty(shape or (1,), item.dtype.numpy).reshape(shape)
            self._context.set_tensor_address(item.name, array.ctypes.data)
        else:
            self._context.set_tensor_address(item.name, self._memory.of(item.name, array.nbytes))
        return array

    def _address(self, item: Binding) -> int:
        growing = self._growing.get(item.name)
        return self._memory.of(item.name, 0) if growing is None else growing[1].address

    def _grown(self, item: Binding) -> Array:
        told = self._growing[item.name][1]
        if told.shape is None:
            raise self._failed(f"output {item.name!r} has no memory: {told.failure or 'its size was not told'}")
        return np.empty(told.shape, item.dtype.numpy)

    def _execute(self, shapes: _Shapes, *, fixed: bool) -> None:
        """One run; the second one of equal shapes is captured where it can be, and launched from then on."""
        if not (self._graphs and fixed):
            self._enqueue()
            if not fixed:
                self._cuda.wait(self._stream)
            return
        if self._captured is not None and self._captured[0] != shapes:
            self._forget_graph()
        if self._captured is None and self._before == shapes:
            graph = self._cuda.capture(self._stream, self._enqueued)
            if graph is None:
                logger.debug("the engine can't be captured as a CUDA graph: %s", self._log.errors())
            self._captured = (shapes, graph)
        self._before = shapes
        if self._captured is not None and self._captured[1] is not None:
            self._cuda.launch(self._captured[1], self._stream)
        else:
            self._enqueue()

    def _enqueued(self) -> bool:
        return bool(self._context.execute_async_v3(self._stream))

    def _enqueue(self) -> None:
        if not self._enqueued():
            raise self._failed("the engine does not run")

    def _failed(self, what: str) -> ExecutionError:
        said = self._log.errors()
        failures = [told.failure for _, told in self._growing.values() if told.failure]
        return ExecutionError(f"TensorRT: {what}: {' | '.join([*failures, said]) or 'it does not say why'}")

    def _forget_graph(self) -> None:
        if self._captured is not None and self._captured[1] is not None:
            self._cuda.end_graph(self._captured[1])
        self._captured = None

    def close(self) -> None:
        """Give back what is on the device."""
        if self._engine is None:
            return
        self._cuda.enter()
        self._forget_graph()
        if self._cache is not None:
            self._cache.save()
        self._context = self._engine = None
        self._memory.close()
        self._cuda.end_stream(self._stream)
