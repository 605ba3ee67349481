"""Engines for TensorRT: a model is optimized and checked, lowered layer by layer, and built; a manifest says from what and with what."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from graphopt.backends.base import Artifact
from graphopt.backends.tensorrt.building import EngineOptions, build_with_layers
from graphopt.backends.tensorrt.ranges import check_profiles
from graphopt.compiler.arguments import expect_type
from graphopt.compiler.engines.precision import check_precision, optimized_for_engine, quantized_for
from graphopt.compiler.environment import Environment
from graphopt.compiler.result import OptimizeReport
from graphopt.errors import PipelineError, UnsupportedOpError
from graphopt.ir import Model, StoredData
from graphopt.plugin_manager import PluginManager

if TYPE_CHECKING:
    from graphopt.backends.tensorrt.api import Api

__all__ = ["Engine", "build", "library_for", "with_profile_data"]

_TARGETS: Final[Mapping[str, str | None]] = {"tensorrt": None, "tensorrt-rtx": "tensorrt_rtx"}


@dataclass(frozen=True)
class Engine:
    """An engine that was built.

    Attributes:
        data: the serialized engine.
        manifest: what it was built from and with, as plain values.
        report: of the optimization before.
        seconds: time by phase.
        timing_cache: what the library measured, ``None`` if that was not to be kept.
        notes: what people should know, beside those of the report.
    """

    data: memoryview = field(repr=False)
    manifest: Mapping[str, Any]
    report: OptimizeReport = field(repr=False)
    seconds: Mapping[str, float]
    timing_cache: bytes | None = field(default=None, repr=False)
    notes: Sequence[str] = ()

    @property
    def layers(self) -> Mapping[str, int]:
        """How many layers of each kind the network had."""
        found: Mapping[str, int] = self.manifest["layers"]
        return found

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> list[Path]:
        """Write the engine, and its manifest beside it, ``NAME.json``; both appear whole or not at all.

        Raises:
            OutputError: if files exist already, or can't be written.
        """
        from graphopt.backends.artifact_files import save_artifact  # lazily: imports onnx

        place = Path(path)
        manifest = json.dumps(self.manifest, indent=2).encode() + b"\n"
        files: dict[str, bytes | memoryview] = {place.suffix: self.data, f"{place.suffix}.json": manifest}
        return save_artifact(Artifact("tensorrt", files=files), place, force=force)


def build(
    source: object,
    *,
    target: str = "tensorrt",
    level: str = "O2",
    precision: str = "fp32",
    data: object = None,
    options: EngineOptions | None = None,
    profile_data: str | os.PathLike[str] | None = None,
    sparse: bool | None = None,
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
        precision: ``"fp32"`` for the types of the model, ``"fp16"`` or ``"bf16"`` for floats of half the size with islands of float32,
            ``"int8"`` to quantize it first.
        data: examples to quantize with, as :func:`graphopt.quantize` takes them.
        options: how the engine is built: compute capabilities, profiles of sizes, caches and so on.
        profile_data: an ``.npz`` file of inputs, or a folder of them, whose sizes are the profile; for models that ``options`` state no
            profiles for. Its ``sizes`` go before those of the data.
        sparse: whether zeros of weights of which at most 2 of 4 are not zero may be skipped; where there are such weights if ``None``.
        check: whether the optimized model, as ONNX, is compared with the original.
        inputs: for that check.
        seed: of generated ones.
        progress: told what is going on; by a thread of the library's while it builds.
        plugins: where passes and converters come from.

    Raises:
        PipelineError: if target or precision are unknown.
        CalibrationError: if there is no data to quantize with, or it can't be used.
        QuantizationError: if the model can't be quantized.
        ExecutionError: if no library is installed, a size is not stated, or no engine can be built.
        UnsupportedOpError: if a node has no layers; names it and says why.
        VerificationError: if the optimized model differs from the original.
        ModelError: if the model is broken, or its file changed meanwhile.

    Example:
        >>> from graphopt.data import digits_model
        >>> build(digits_model(), precision="fp64")
        Traceback (most recent call last):
        ...
        graphopt.errors.PipelineError: precision is 'fp64', expected one of fp32, fp16, bf16, int8
    """
    check_precision(precision, data)
    api = library_for(target)
    from graphopt.backends.tensorrt.manifest_contents import (
        manifest_of,
        source_digest,
    )
    from graphopt.compiler.engines.lowering import lower
    from graphopt.compiler.sparse_weights import sparse_layers

    tell = progress or (lambda text: None)
    options = options or EngineOptions()
    environment = Environment(plugins)
    if profile_data is None:
        check_profiles(environment.lift(source), options.stated_profiles())  # before the work, not after it
    model, notes = source, list[str]()
    if data is not None:
        model, note = quantized_for(source, data, environment, target, seed, tell)
        notes.append(note)
    found, said = optimized_for_engine(
        model,
        environment,
        target=target,
        level=level,
        precision=precision,
        check=check,
        inputs=inputs,
        seed=seed,
        progress=progress,
    )
    notes += said
    if profile_data is not None:
        options = with_profile_data(options, Path(profile_data), found.model)
    zeros = [] if sparse is False else sparse_layers(found.model.graph)
    options = replace(options, sparse=bool(zeros) if sparse is None else sparse)
    start = time.perf_counter()
    tell("lower")
    try:
        built = lower(environment, found.model, api, refittable=options.refittable)
    except UnsupportedOpError as err:
        raise UnsupportedOpError(
            f"{err}; ONNX Runtime takes that part with --hybrid, graphopt partition shows the cut"
        ) from err
    lowered = time.perf_counter()
    engine = build_with_layers(built, options, progress=progress)
    _check_unchanged(found.model)
    done = time.perf_counter()
    manifest = manifest_of(
        built,
        engine,
        options,
        source=os.fspath(source) if isinstance(source, str | os.PathLike) else found.report.source,
        source_sha256=source_digest(source),
        pipeline=level,
        precision=precision,
        sparse=[original for node in zeros for original in node.lineage.names()[:1]] if options.sparse else (),
    )
    seconds = {**found.report.seconds, "lower": lowered - start, "build": done - lowered}
    if not engine.layers:
        notes.append("the library tells the layers of an engine only where it runs")
    return Engine(engine.data, manifest, found.report, seconds, engine.timing_cache, notes)


def library_for(target: str) -> Api:
    """The library that builds for a target.

    Raises:
        PipelineError: if nothing is built for such a target.
        ExecutionError: if the library is not installed.
    """
    expect_type("target", target, str, "'tensorrt' or 'tensorrt-rtx'")
    if target not in _TARGETS:
        raise PipelineError(f"target is {target!r}, engines are built for: {', '.join(_TARGETS)}")
    from graphopt.backends.tensorrt.api import load  # lazily: optional

    return load(_TARGETS[target])


def with_profile_data(options: EngineOptions, path: Path, model: Model) -> EngineOptions:
    """Options with the sizes of data as the profile.

    Raises:
        PipelineError: if profiles are stated too.
    """
    from graphopt.compiler.calibration.data import input_specs  # lazily, as the next one: imports ONNX Runtime
    from graphopt.compiler.engines.profile_data import profile_from_data

    if any(item.shapes or item.values for item in options.profiles) or len(options.profiles) > 1:
        raise PipelineError("--profile and --profile-data both state shapes; leave one of them out")
    sizes = {**options.sizes, **(options.profiles[0].sizes if options.profiles else {})}
    return replace(options, profiles=[profile_from_data(path, input_specs(model)).with_sizes(sizes)])


def _check_unchanged(model: Model) -> None:
    """See that the files that weights lie in are what they were: the library has read them while it built.

    Raises:
        ModelError: if one changed.
    """
    sources = {}
    for value in model.graph.initializers():
        stored = None if value.const is None else value.const.data
        if isinstance(stored, StoredData):
            sources[id(stored.source)] = stored.source
    for item in sources.values():
        item.read(0, 0)
