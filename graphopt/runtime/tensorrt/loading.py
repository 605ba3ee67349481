"""Engines loaded: what an engine needs of library and device, and one line for each way in which that fails."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Final

from graphopt.backends.tensorrt.api import INSTALL, Api, Log
from graphopt.backends.tensorrt.manifest import ManifestRecord
from graphopt.errors import ExecutionError
from graphopt.runtime.tensorrt.cuda import Cuda

__all__ = ["check_built_with", "load_engine", "why_nothing_loads"]

_BUILD: Final = "build it again here: graphopt build"
#: What TensorRT-RTX finds wrong with an engine, by the flag, for people.
_DIAGNOSTICS: Final = {
    "MALFORMED_ENGINE": "it is no engine, or it is truncated",
    "VERSION_MISMATCH": "another version of the library built it",
    "UNSUPPORTED_CC": "it was not compiled for this GPU",
    "OLD_CUDA_DRIVER": "it needs a newer NVIDIA driver",
    "OLD_CUDA_RUNTIME": "it needs a newer CUDA runtime",
    "INSUFFICIENT_GPU_MEMORY": "the GPU has too little memory for it",
    "CUDA_ERROR": "CUDA failed",
}


@functools.cache
def why_nothing_loads(module: Any) -> str | None:  # noqa: ANN401  the library
    """Why no engine that a library builds loads on the device that is there, ``None`` if one does; found by building the smallest.

    For libraries that compile for other devices than the one at hand, TensorRT-RTX: a GPU may be there that they do not support.
    """
    api = Api(module)
    log = api.log()
    builder = api.builder(log)
    network = api.network(builder)
    network.mark_output(network.add_identity(network.add_input("x", api.enum("DataType", "FLOAT"), (1,))).get_output(0))
    made = builder.build_serialized_network(network, api.config(builder))
    if made is not None and api.module.Runtime(log.logger).deserialize_cuda_engine(bytes(made)) is not None:
        return None
    return f"{api.name} {api.version} does not run on this GPU: {log.errors() or 'it does not say why'}"


def check_built_with(path: Path, manifest: ManifestRecord, api: Api) -> None:
    """See that an engine is of the library that is there.

    Raises:
        ExecutionError: if it is of another one, or of a version whose engines this one does not take.
    """
    if _family(manifest.library) != _family(api.name):
        raise ExecutionError(
            f"{str(path)!r} was built with {manifest.library} {manifest.version}, here is {api.name} {api.version}; "
            "choose that one with GRAPHOPT_TENSORRT, or build the engine again"
        )
    if manifest.version.split(".")[:2] != api.version.split(".")[:2]:
        raise ExecutionError(
            f"{str(path)!r} was built with {manifest.library} {manifest.version}, whose engines {api.version} does not load; "
            f"{_BUILD}, or install that version: {INSTALL}"
        )


def _family(library: str) -> str:
    return library.removesuffix("_bindings")


def load_engine(
    path: Path,
    data: bytes,
    manifest: ManifestRecord | None,
    api: Api,
    cuda: Cuda,
    log: Log,
) -> Any:  # noqa: ANN401  ICudaEngine
    """The engine in some bytes, ``ICudaEngine``.

    Args:
        path: where they come from.
        data: a serialized engine.
        manifest: what it was built with, ``None`` if nobody says.
        api: the library.
        cuda: the device.
        log: what the library says goes there.

    Raises:
        ExecutionError: if it is of another library, version or GPU, is no engine, or there is no room for it.
    """
    if api.is_rtx and manifest is not None and manifest.capabilities and cuda.capability not in manifest.capabilities:
        compiled = ", ".join(manifest.capabilities)
        raise ExecutionError(
            f"{str(path)!r} is compiled for compute capability {compiled}, {cuda.name} has {cuda.capability}; "
            f"build it with --sm {cuda.capability}, or without --sm for all"
        )
    runtime = api.module.Runtime(log.logger)
    if runtime is None:
        raise ExecutionError(f"{api.name} makes no runtime: {log.errors() or 'it does not say why'}")
    reason = _invalidity(runtime, data, api)
    if reason:
        raise ExecutionError(f"{str(path)!r} does not load: {reason}; {_BUILD}")
    engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        said = log.errors() or "the library does not say why"
        raise ExecutionError(
            f"{str(path)!r} does not load with {api.name} {api.version} on {cuda.name}: {said}; {_BUILD}"
        )
    return engine


def _invalidity(runtime: Any, data: bytes, api: Api) -> str:  # noqa: ANN401  IRuntime
    """What the library finds wrong with the head of an engine, ``""`` for nothing, or if it can't tell."""
    look = getattr(runtime, "get_engine_validity", None)
    validity = getattr(api.module, "EngineValidity", None)
    if look is None or validity is None:
        return ""
    found, flags = look(data[: runtime.engine_header_size])
    if found != validity.INVALID:
        return ""
    known = getattr(api.module, "EngineInvalidityDiagnostics", None)
    names = {} if known is None else {name: int(member) for name, member in known.__members__.items()}
    return " and ".join(text for name, text in _DIAGNOSTICS.items() if int(flags) & names.get(name, 0))
