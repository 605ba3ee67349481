"""Other weights for an engine: the new model goes the way that the old one went, and must come to the same network but for its numbers."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from graphopt.backends.tensorrt.manifest import ManifestRecord, read_manifest
from graphopt.backends.tensorrt.manifest_contents import source_digest
from graphopt.compiler.engines.building import Engine, library_for
from graphopt.compiler.engines.lowering import lower
from graphopt.compiler.engines.precision import optimized_for_engine
from graphopt.compiler.environment import Environment
from graphopt.errors import ExecutionError
from graphopt.plugin_manager import PluginManager

__all__ = ["refit"]


def refit(
    engine: str | os.PathLike[str],
    source: object,
    *,
    target: str = "tensorrt",
    check: bool = True,
    inputs: str | os.PathLike[str] | Mapping[str, object] | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
    plugins: PluginManager | None = None,
) -> Engine:
    """Give an engine the weights of another model; needs a device that runs the engine.

    Args:
        engine: path of an engine that was built refittable, with its manifest beside it.
        source: the model; it differs from the one that the engine was built of in weights only.
        target: library to do it with, as for :func:`graphopt.compiler.engines.building.build`.
        check: whether the optimized model is compared with ``source``.
        inputs: for that check.
        seed: of generated ones.
        progress: told what is going on.
        plugins: where passes and converters come from.

    Raises:
        ExecutionError: if the engine or its manifest can't be read, its weights can't be exchanged, the model is another one, or no
            device is there that runs it.
        UnsupportedOpError: if a node has no layers.
        VerificationError: if the optimized model differs from the original.
    """
    path = Path(engine)
    record = _record(path)
    from graphopt.backends.tensorrt.refitting import (
        refit_engine,
        structure_of,
        weights_of,
    )  # lazily: only engines need it
    from graphopt.runtime.tensorrt.driver import connect
    from graphopt.runtime.tensorrt.engine_file import read_engine
    from graphopt.runtime.tensorrt.loading import check_built_with, load_engine

    data, _ = read_engine(path)
    api = library_for(target)
    check_built_with(path, record, api)
    tell = progress or (lambda text: None)
    environment = Environment(plugins)
    found, notes = optimized_for_engine(
        source,
        environment,
        target=target,
        level=record.pipeline,
        precision=record.precision,
        check=check,
        inputs=inputs,
        seed=seed,
        progress=progress,
    )
    start = time.perf_counter()
    tell("lower")
    built = lower(environment, found.model, api, refittable=True)
    if structure_of(built) != record.structure:
        raise ExecutionError(
            f"the model is not the one that {str(path)!r} was built of with other weights: its network has other layers, names or "
            "shapes; build an engine of it: graphopt build"
        )
    lowered = time.perf_counter()
    tell("refit")
    made = refit_engine(built, load_engine(path, data, record, api, connect(), built.log), record.weights)
    done = time.perf_counter()
    manifest: dict[str, Any] = msgspec.to_builtins(record) | {
        "source": os.fspath(source) if isinstance(source, str | os.PathLike) else found.report.source,
        "source_sha256": source_digest(source),
        "weights": weights_of(built),
        "bytes": len(made),
        "sha256": hashlib.sha256(made).hexdigest(),
    }
    seconds = {**found.report.seconds, "lower": lowered - start, "refit": done - lowered}
    return Engine(memoryview(made), manifest, found.report, seconds, notes=notes)


def _record(path: Path) -> ManifestRecord:
    record = read_manifest(path)
    if record is None:
        raise ExecutionError(
            f"{str(path)!r} has no manifest beside it, which says what it was built of; bring {path.name}.json, or build it again"
        )
    if record.precision == "int8":
        raise ExecutionError(
            f"{str(path)!r} was quantized while it was built; quantize both models first, graphopt quantize, and build of the result"
        )
    if not record.structure:
        raise ExecutionError(f"{str(path)!r} was built with its weights for good; build it again with --refittable")
    return record
