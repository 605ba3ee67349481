"""A model in parts, built: it is cut, each region gets its own form, the chain of parts is compared with the original."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from graphopt.backends.tensorrt.building import EngineOptions
from graphopt.backends.tensorrt.manifest_contents import source_digest
from graphopt.compiler.artifacts import builds_engines
from graphopt.compiler.cutting import Cut, cut_optimized, named_sizes, part_of
from graphopt.compiler.engines.building import library_for, with_profile_data
from graphopt.compiler.engines.precision import check_precision, optimized_for_engine, quantized_for
from graphopt.compiler.environment import Environment
from graphopt.compiler.hybrid.checking import check_parts
from graphopt.compiler.hybrid.folder import check_folder_output, new_folder
from graphopt.compiler.hybrid.parts import PartMaker, RefusedRegionError
from graphopt.compiler.hybrid.size_ranges import SizeRanges, refuse_open_inputs
from graphopt.compiler.result import OptimizeReport
from graphopt.errors import PipelineError, UnsupportedOpError, VerificationError
from graphopt.plugin_manager import PluginManager
from graphopt.runtime.hybrid.manifest import FORMAT, KIND, HybridManifest, HybridPart, type_text, write_manifest
from graphopt.verify import Verdict

if TYPE_CHECKING:
    from graphopt.backends.tensorrt.api import Api

__all__ = ["Hybrid", "build_hybrid"]

#: How often a model is cut anew because a region that was thought to be taken can't be built.
_MOST_CUTS: Final = 12


@dataclass(frozen=True)
class Hybrid:
    """A model that was built in parts.

    Attributes:
        folder: where it is; :class:`graphopt.Session` and ``graphopt run`` open it.
        manifest: what the folder says of itself.
        cut: where the model was cut, and why nodes are not taken.
        verdict: of the chain of parts against the original, ``None`` when it was not asked for.
        checked_in: what ran the parts for that: ``"onnxruntime"`` for all of them as ONNX, ``"hybrid"`` for the folder as it is.
        seconds: time by phase.
        notes: what people should know, beside those of the report.
    """

    folder: Path
    manifest: HybridManifest
    cut: Cut
    verdict: Verdict | None = None
    checked_in: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def report(self) -> OptimizeReport:
        """Of the optimization before."""
        assert self.cut.report is not None, "a model is optimized before it is cut"
        return self.cut.report


def build_hybrid(
    source: object,
    output: str | os.PathLike[str],
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
    force: bool = False,
    progress: Callable[[str], None] | None = None,
    plugins: PluginManager | None = None,
    library: Api | None = None,
) -> Hybrid:
    """Build a folder with an engine for each region that a target takes, and ONNX models for ONNX Runtime for the rest.

    Args:
        source: path, bytes, ``ModelProto``, IR, or what a plugin's frontend accepts.
        output: the folder; it appears whole or not at all.
        target: what takes as much as it can, ``"tensorrt"``, ``"tensorrt-rtx"`` or the backend of a plugin.
        level: what the model goes through before.
        precision: as for :func:`graphopt.compiler.engines.building.build`.
        data: examples to quantize with, for precision ``"int8"``.
        options: how engines are built: compute capabilities, sizes of dimensions and shapes of inputs by profile, and so on. A profile may
            name inner values that engines read too.
        profile_data: inputs whose sizes are the profile, an ``.npz`` file or a folder of them.
        sparse: whether zeros of 2:4 weights may be skipped; where there are such weights if ``None``.
        check: whether the optimized model, and then the chain of parts, is compared with the original: where the target runs, as it is,
            else each part as ONNX.
        inputs: for that check.
        seed: of generated ones.
        force: whether a folder of parts that is there may be replaced.
        progress: told what is going on.
        plugins: where passes, backends and converters come from.
        library: the TensorRT library to build with; the one that is installed by default.

    Raises:
        PipelineError: if target, level or precision are unknown.
        CalibrationError: if there is no data to quantize with, or it can't be used.
        QuantizationError: if the model can't be quantized.
        UnsupportedOpError: if the target takes nothing of the model that is worth a part.
        ExecutionError: if no library is installed, or a size is not stated.
        VerificationError: if the parts do not compute what the original computes.
        OutputError: if the folder exists, or can't be written.
    """
    check_precision(precision, data)
    real = check_folder_output(Path(output), force=force)
    environment = Environment(plugins)
    engines = builds_engines(environment, target)
    if precision != "fp32" and not engines:
        raise PipelineError(
            f"precision is {precision!r}, which is for engines; convert the model for target {target!r} first"
        )
    tell = progress or (lambda text: None)
    api = (library or library_for(target)) if engines else None
    model, notes = source, list[str]()
    if data is not None:
        model, note = quantized_for(source, data, environment, target, seed, tell)
        notes.append(note)
    lifted = environment.lift(model)
    shapes = named_sizes(lifted, target, environment)
    options = options or EngineOptions()
    if engines and profile_data is None:  # before the work, not after it
        refuse_open_inputs(lifted, shapes, options.stated_profiles())
    optimized, said = optimized_for_engine(
        model,
        environment,
        target=target,
        level=level,
        precision=precision,
        check=check,
        inputs=inputs,
        seed=seed,
        progress=progress,
        input_shapes=shapes,
    )
    notes += said
    found = cut_optimized(optimized, target, environment)
    if profile_data is not None:
        options = with_profile_data(options, Path(profile_data), found.model)
    fed = [value for value in found.model.graph.inputs if not value.is_constant]
    maker = PartMaker(
        environment,
        target,
        api,
        options,
        [SizeRanges(fed, profile) for profile in options.stated_profiles()],
        sparse,
        os.fspath(source) if isinstance(source, str | os.PathLike) else "",
        source_digest(source),
        optimized.report.pipeline,
        precision,
        tell,
    )
    seconds: dict[str, float] = {}
    with new_folder(real) as draft:
        start = time.perf_counter()
        found, parts = _made(found, maker, draft)
        manifest = _manifest(found, parts, maker)
        write_manifest(draft, manifest)
        seconds["build"] = time.perf_counter() - start
        verdict, checked_in = None, ""
        if check:
            start = time.perf_counter()
            tell("comparing the chain of parts")
            verdict, checked_in = check_parts(found, manifest, draft, model, environment, inputs=inputs, seed=seed)
            seconds["check of parts"] = time.perf_counter() - start
            if verdict is None:
                notes.append(
                    f"the chain of parts is not compared with the original: ONNX Runtime does not compute in {precision} here"
                )
            elif verdict.status == "failed":
                raise VerificationError(
                    f"the parts do not compute what the model computes: {verdict.reason}; nothing was written"
                )
    return Hybrid(Path(output), manifest, found, verdict, checked_in, {**optimized.report.seconds, **seconds}, notes)


def _made(found: Cut, maker: PartMaker, draft: Path) -> tuple[Cut, list[HybridPart]]:
    """The parts; where a region can't be built after all, the model is cut anew with less of it taken."""
    refused: dict[str, str] = {}
    numbers = itertools.count()
    for _ in range(_MOST_CUTS):
        if not any(region.taken for region in found.partition.regions):
            break
        parts: list[HybridPart] = []
        try:
            for place, region in enumerate(found.partition.regions):
                stem = draft / f"{place:03}-{'engine' if region.taken else 'rest'}"
                parts.append(maker.make(part_of(found.model, region), region, stem))
        except RefusedRegionError as err:
            refused |= err.refused
            maker.tell(f"cutting again ({next(numbers) + 1}): {err}")
            for path in draft.iterdir():
                path.unlink()
            found = found.again(maker.environment, refused)
        else:
            return found, parts
    else:
        last = next(reversed(refused.values()))
        raise UnsupportedOpError(
            f"no cut of the model was found of which target {maker.target!r} builds all parts, in {_MOST_CUTS} tries; the last one: {last}"
        )
    reasons = dict.fromkeys(found.partition.reasons.values())
    raise UnsupportedOpError(
        f"target {maker.target!r} takes nothing of the model that is worth a part ({'; '.join(list(reasons)[:3])}); "
        "graphopt partition shows all reasons"
    )


def _manifest(found: Cut, parts: Sequence[HybridPart], maker: PartMaker) -> HybridManifest:
    graph = found.model.graph
    return HybridManifest(
        KIND,
        FORMAT,
        {value.name: type_text(value.type) for value in graph.inputs if not value.is_constant},
        {value.name: type_text(value.type) for value in graph.outputs},
        tuple(parts),
        target=found.target,
        share=round(found.partition.share, 6),
        source=maker.source,
        source_sha256=maker.source_sha256,
        pipeline=maker.pipeline,
        precision=maker.precision,
        versions={"graphopt": version("graphopt")} | ({} if maker.api is None else {maker.api.name: maker.api.version}),
    )
