"""TensorRT as the runtime of its backend: opens engines where there are a library, a driver and a GPU, and says what lacks where not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from graphopt.backends.tensorrt.api import Api, load
from graphopt.errors import ExecutionError
from graphopt.numerics import Numerics, Reassociates
from graphopt.runtime.base import Runner
from graphopt.runtime.runtimes import RunOptions
from graphopt.runtime.tensorrt.cuda import Cuda
from graphopt.runtime.tensorrt.driver import connect
from graphopt.runtime.tensorrt.engine_file import read_engine
from graphopt.runtime.tensorrt.kernel_cache import KernelCache, cache_beside
from graphopt.runtime.tensorrt.loading import check_built_with, load_engine, why_nothing_loads
from graphopt.runtime.tensorrt.runner import EngineRunner

__all__ = ["TensorRtRuntime"]


class TensorRtRuntime:
    """Engines on a GPU.

    Numerics: other kernels, which sum in another order and in another precision inside. Engines that were built with TF32 differ by more.

    Args:
        find_library: gives the library.
        find_device: gives the device.
    """

    suffix: ClassVar[str] = ".engine"
    numerics: ClassVar[Numerics] = Reassociates(1e-3)

    def __init__(self, find_library: Callable[[], Api] = load, find_device: Callable[[], Cuda] = connect) -> None:
        self._find_library = find_library
        self._find_device = find_device

    def available(self) -> str | None:
        """What lacks: a library, a driver, or a GPU that the library runs on; ``None`` if nothing does."""
        try:
            api = self._find_library()
            self._find_device()
            return why_nothing_loads(api.module) if api.is_rtx else None
        except ExecutionError as err:
            return str(err)

    def open(self, path: Path, options: RunOptions) -> Runner:
        """An engine, ready to run; with the manifest beside it, if there is one, it is seen to be whole and to fit.

        A cache of kernels beside it (``NAME.engine.cache``) is used and kept up to date by TensorRT-RTX, an empty file to begin with.

        Args:
            path: a serialized engine.
            options: ``optimize`` lets runs be captured as CUDA graphs.

        Raises:
            ExecutionError: if a library, a driver or a GPU lacks, or the engine does not load.
        """
        api = self._find_library()
        data, manifest = read_engine(path)
        if manifest is not None:
            check_built_with(path, manifest, api)
        cuda = self._find_device()
        log = api.log()
        engine = load_engine(path, data, manifest, api, cuda, log)
        beside = cache_beside(path)
        return EngineRunner(
            engine,
            api,
            cuda,
            log,
            declared={} if manifest is None else manifest.types,
            graphs=options.optimize,
            cache=KernelCache(beside) if api.is_rtx and beside.is_file() else None,
        )
