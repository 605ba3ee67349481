"""Engines for TensorRT: a model is optimized and checked, lowered layer by layer, and built; a manifest says from what and with what."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from graphopt.backends.base import Artifact
from graphopt.compiler.arguments import expect_type
from graphopt.compiler.environment import Environment
from graphopt.compiler.optimizing import optimize
from graphopt.compiler.result import OptimizeReport
from graphopt.errors import PipelineError
from graphopt.plugin_manager import PluginManager

__all__ = ["PRECISIONS", "Engine", "build"]

#: What floats may become, and the pass that makes it.
PRECISIONS: Final[Mapping[str, str]] = {"fp32": "", "fp16": "convert-to-float16", "bf16": "convert-to-bfloat16"}
_TARGETS: Final[Mapping[str, str | None]] = {"tensorrt": None, "tensorrt-rtx": "tensorrt_rtx"}


@dataclass(frozen=True)
class Engine:
    """An engine that was built.

    Attributes:
        data: the serialized engine.
        manifest: what it was built from and with, as plain values.
        layers: how many layers of each kind the network had.
        report: of the optimization before.
        seconds: time by phase.
    """

    data: bytes = field(repr=False)
    manifest: Mapping[str, Any]
    layers: Mapping[str, int]
    report: OptimizeReport = field(repr=False)
    seconds: Mapping[str, float]

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> list[Path]:
        """Write the engine, and its manifest beside it, ``NAME.json``; both appear whole or not at all.

        Raises:
            OutputError: if files exist already, or can't be written.
        """
        from graphopt.backends.artifact_files import save_artifact  # lazily: imports onnx

        place = Path(path)
        manifest = json.dumps(self.manifest, indent=2).encode() + b"\n"
        files = {place.suffix: self.data, f"{place.suffix}.json": manifest}
        return save_artifact(Artifact("tensorrt", files=files), place, force=force)


def build(
    source: object,
    *,
    target: str = "tensorrt",
    level: str = "O2",
    precision: str = "fp32",
    capabilities: Sequence[str] = (),
    profiles: Mapping[str, str] | None = None,
    sizes: Mapping[str, Sequence[int]] | None = None,
    weight_streaming: bool = False,
    builder_level: int | None = None,
    check: bool = True,
    inputs: str | os.PathLike[str] | Mapping[str, object] | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
    plugins: PluginManager | None = None,
) -> Engine:
    """Build an engine; no GPU is needed with TensorRT-RTX.

    Args:
        source: path, bytes, ``ModelProto``, IR, or what a plugin's frontend accepts; a model with Q/DQ gives an engine of int8.
        target: ``"tensorrt"`` for the library that is installed, ``"tensorrt-rtx"`` for that one.
        level: what the model goes through before.
        precision: ``"fp32"`` for the types of the model, ``"fp16"`` or ``"bf16"`` for floats of half the size with islands of float32.
        capabilities: compute capabilities, ``"86"``; all that the library compiles for if there are none.
        profiles: shapes by input, ``"1x3x224x224,4x3x224x224,8x3x224x224"``.
        sizes: smallest, usual and largest size by name of a dimension, for inputs without a profile.
        weight_streaming: whether weights may stay in the memory of the host.
        builder_level: of the builder's own optimization, 0 to 5.
        check: whether the optimized model, as ONNX, is compared with the original.
        inputs: for that check.
        seed: of generated ones.
        progress: told what is going on.
        plugins: where passes and converters come from.

    Raises:
        PipelineError: if target or precision are unknown.
        ExecutionError: if no library is installed, a size is not stated, or no engine can be built.
        UnsupportedOpError: if a node has no layers; names it and says why.
        VerificationError: if the optimized model differs from the original.

    Example:
        >>> from graphopt.data import digits_model
        >>> build(digits_model(), precision="fp64")
        Traceback (most recent call last):
        ...
        graphopt.errors.PipelineError: precision is 'fp64', expected one of fp32, fp16, bf16
    """
    expect_type("target", target, str, "'tensorrt' or 'tensorrt-rtx'")
    if target not in _TARGETS:
        raise PipelineError(f"target is {target!r}, engines are built for: {', '.join(_TARGETS)}")
    if precision not in PRECISIONS:
        raise PipelineError(f"precision is {precision!r}, expected one of {', '.join(PRECISIONS)}")
    from graphopt.backends.tensorrt.api import load  # lazily: optional
    from graphopt.backends.tensorrt.backend import TensorRtBackend
    from graphopt.backends.tensorrt.building import EngineOptions, build_engine
    from graphopt.backends.tensorrt.profiles import parse_profile

    api = load(_TARGETS[target])
    tell = progress or (lambda text: None)
    shapes = dict(parse_profile(f"{name}:{text}") for name, text in (profiles or {}).items())
    environment = Environment(plugins)
    found = optimize(
        source,
        target=target,
        pipeline=",".join(part for part in (level, PRECISIONS[precision]) if part),
        check=check,
        inputs=inputs,
        seed=seed,
        progress=progress,
        plugins=environment.plugins,
    )
    backend = environment.backend("tensorrt")
    assert isinstance(backend, TensorRtBackend), "the built-in backend of that name"
    start = time.perf_counter()
    tell("lower")
    built = backend.network(found.model, api)
    lowered = time.perf_counter()
    options = EngineOptions(
        tuple(capabilities), shapes, dict(sizes or {}), weight_streaming=weight_streaming, level=builder_level
    )
    data = build_engine(built, options, progress=progress)
    done = time.perf_counter()
    layers = Counter(
        str(built.network.get_layer(place).type).rpartition(".")[2] for place in range(built.network.num_layers)
    )
    seconds = {**found.report.seconds, "lower": lowered - start, "build": done - lowered}
    manifest = {
        "format": 1,
        "library": api.name,
        "version": api.version,
        "source": found.report.source,
        "pipeline": found.report.pipeline,
        "precision": precision,
        "capabilities": list(capabilities),
        "profiles": {name: [list(item.least), list(item.usual), list(item.most)] for name, item in shapes.items()},
        "sizes": {name: list(item) for name, item in (sizes or {}).items()},
        "layers": dict(layers.most_common()),
        "types": {name: str(dtype) for name, dtype in built.dtypes.items()},
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    return Engine(data, manifest, dict(layers.most_common()), found.report, seconds)
