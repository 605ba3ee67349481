"""Kernels of an engine compiled before it is first used, for the GPU that is here: TensorRT-RTX compiles them where an engine runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphopt.backends.tensorrt.api import Api
from graphopt.errors import ExecutionError
from graphopt.ir import TensorType
from graphopt.runtime import RunOptions
from graphopt.runtime.base import Runner
from graphopt.runtime.tensorrt.kernel_cache import cache_beside
from graphopt.runtime.tensorrt.runtime import TensorRtRuntime

__all__ = ["check_compiles_here", "compile_kernels"]


def check_compiles_here(api: Api, runtime: TensorRtRuntime) -> None:
    """See that kernels are compiled where an engine runs, and that one runs here.

    Raises:
        ExecutionError: if not.
    """
    if not api.is_rtx:
        raise ExecutionError(
            f"{api.name} compiles kernels while it builds, and has no cache of them; --timing-cache keeps what it measured"
        )
    reason = runtime.available()
    if reason is not None:
        raise ExecutionError(f"--runtime-cache compiles kernels for the GPU that is here: {reason}, or leave it out")


def compile_kernels(
    engine: Path, profiles: Sequence[Mapping[str, Any]], runtime: TensorRtRuntime, *, tell: Callable[[str], None]
) -> Path:
    """Run an engine once for the usual sizes of each profile, and keep the kernels beside it; returns that file.

    Args:
        engine: its file.
        profiles: of its manifest.
        runtime: what runs it.
        tell: told what is going on.

    Raises:
        ExecutionError: if it does not run.
    """
    cache = cache_beside(engine)
    cache.touch()  # an empty one is one to begin with
    with runtime.open(engine, RunOptions()) as runner:
        for place, profile in enumerate(profiles or ({},)):
            tell(f"compiling kernels for profile {place + 1} of {max(len(profiles), 1)}")
            runner.run(_feeds(runner, profile))
    return cache


def _feeds(runner: Runner, profile: Mapping[str, Any]) -> dict[str, Any]:
    """Zeros of the usual shapes, and the usual values of inputs that hold a shape."""
    shapes, values = profile.get("shapes", {}), profile.get("values", {})
    found = {}
    for spec in runner.inputs:
        assert isinstance(spec.type, TensorType), "engines take tensors"
        shape = tuple(shapes[spec.name][1]) if spec.name in shapes else tuple(spec.type.shape or ())
        array = np.zeros(tuple(int(str(size)) for size in shape), spec.type.dtype.numpy)
        if spec.name in values:
            array[...] = np.reshape(values[spec.name][1], array.shape)
        found[spec.name] = array
    return found
