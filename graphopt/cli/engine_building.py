"""``graphopt build``: an engine for TensorRT, or a folder of parts, on any machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from graphopt.backends.onnx.atomic import check_output, new_files
from graphopt.backends.tensorrt.building import EngineOptions
from graphopt.backends.tensorrt.profiles import parse_profile, parse_sizes, profiles_of
from graphopt.builtin_plugin import builtin_plugins
from graphopt.cli import engine_options as of
from graphopt.cli.library_noise import without_library_noise
from graphopt.cli.options import AsJson, InputFile, ModelPath, NoPlugin, Quiet, Seed, UsageError
from graphopt.cli.terminal import progress, show, write_json
from graphopt.compiler.engines.building import Engine, library_for
from graphopt.compiler.engines.building import build as build_engine
from graphopt.compiler.engines.refitting import refit as refit_engine
from graphopt.report.build_view import build_dict, build_view

__all__ = ["build"]


def build(
    model: ModelPath,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT.engine",
            help="Where the engine goes; its manifest goes beside it. With --hybrid, a new folder.",
        ),
    ],
    target: Annotated[
        str,
        typer.Option("--target", metavar="NAME", help="tensorrt for the library that is installed, or tensorrt-rtx."),
    ] = "tensorrt",
    level: Annotated[
        str, typer.Option("--level", "-O", metavar="NAME", help="What the model goes through before.")
    ] = "O2",
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            metavar="TYPE",
            help="fp32 keeps the types of the model; fp16, bf16 halve floats; int8 quantizes with --data.",
        ),
    ] = "fp32",
    data: of.Examples = None,
    profile: of.Profiles = None,
    values: of.Values = None,
    dim: of.Dims = None,
    profile_data: of.ProfileData = None,
    sm: of.Capabilities = None,
    sparse: of.Sparse = None,
    tf32: of.TensorFloat = False,
    weight_streaming: of.WeightStreaming = False,
    refittable: of.Refittable = False,
    refit: of.Refit = None,
    version_compatible: of.VersionCompatible = False,
    builder_level: of.Effort = None,
    memory: of.Memory = None,
    timing_cache: of.TimingCache = None,
    runtime_cache: of.RuntimeCache = False,
    hybrid: Annotated[
        bool,
        typer.Option("--hybrid", help="Build a folder of engines, and of ONNX models for what TensorRT does not take."),
    ] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="List the layers of the engine, with the nodes that went into each.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Compare the optimized model with the original, as ONNX.")
    ] = True,
    inputs: InputFile = None,
    seed: Seed = 0,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace files that are there.")] = False,
    no_plugin: NoPlugin = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Build a TensorRT engine layer by layer, without its ONNX parser; TensorRT-RTX needs no GPU for it."""
    options = EngineOptions(
        of.parse_capabilities(sm),
        profiles_of(
            [parse_profile(text) for text in profile or ()],
            [parse_profile(text) for text in values or ()],
            [parse_sizes(text) for text in dim or ()],
        ),
        tf32=tf32,
        weight_streaming=weight_streaming,
        refittable=refittable,
        version_compatible=version_compatible,
        level=builder_level,
        memory=of.parse_memory(memory),
    )
    plugins = builtin_plugins(tuple(no_plugin or ()))
    if hybrid:
        from graphopt.cli.hybrid_building import build_folder  # lazily: one engine does without

        build_folder(
            model,
            output,
            options,
            plugins,
            of_one_engine={
                "--refit": refit,
                "--refittable": refittable,
                "--timing-cache": timing_cache,
                "--runtime-cache": runtime_cache,
                "--layers": layers,
            },
            as_json=as_json,
            quiet=quiet,
            target=target,
            level=level,
            precision=precision,
            data=data,
            profile_data=profile_data,
            sparse=sparse,
            check=check,
            inputs=inputs,
            seed=seed,
            force=force,
        )
        return
    manifest, kernels = (output.with_name(f"{output.name}.{suffix}") for suffix in ("json", "cache"))
    for path in (output, manifest, kernels):
        check_output(path, force=force)  # before the work, not after it
    if runtime_cache:
        _check_compiles(target)
    _check_apart(
        {
            "MODEL": model,
            "--refit": refit,
            "-o": output,
            "the manifest": manifest,
            "the cache of kernels": kernels,
            "--timing-cache": timing_cache,
        }
    )
    if refit is not None:
        _refuse_with_refit(
            {
                "--precision": precision != "fp32",
                "--data": data,
                "--profile": profile,
                "--values": values,
                "--dim": dim,
                "--profile-data": profile_data,
                "--sm": sm,
                "--sparse": sparse is not None,
                "--tf32": tf32,
                "--weight-streaming": weight_streaming,
                "--version-compatible": version_compatible,
                "--builder-level": builder_level is not None,
                "--memory": memory,
                "--timing-cache": timing_cache,
            }
        )
    with without_library_noise(), progress(f"building {model}", wanted=not (quiet or as_json)) as tell:
        if refit is not None:
            engine = refit_engine(
                refit, model, target=target, check=check, inputs=inputs, seed=seed, progress=tell, plugins=plugins
            )
        else:
            engine = build_engine(
                model,
                target=target,
                level=level,
                precision=precision,
                data=data,
                options=replace(options, timing_cache=_content(timing_cache)),
                profile_data=profile_data,
                sparse=sparse,
                check=check,
                inputs=inputs,
                seed=seed,
                progress=tell,
                plugins=plugins,
            )
        tell("saving")
        files = engine.save(output, force=force)
        if timing_cache is not None and engine.timing_cache is not None:
            with new_files([Path(os.path.realpath(timing_cache))]) as [file]:
                file.write(engine.timing_cache)
            files.append(timing_cache)
        kernels.unlink(missing_ok=True)  # of another engine
        if runtime_cache:
            files.append(_compile(output, engine, target, tell))
    if as_json:
        write_json(build_dict(engine) | {"files": [str(path) for path in files]})
    elif not quiet:
        show(build_view(engine, layers=layers))
        typer.echo(f"\nsaved: {', '.join(str(path) for path in files)}")


def _check_apart(paths: Mapping[str, Path | None]) -> None:
    """See that no two of the files are one."""
    seen: dict[str, str] = {}
    for name, path in paths.items():
        if path is None:
            continue
        other = seen.setdefault(os.path.realpath(path), name)
        if other != name:
            raise UsageError(f"{name} and {other} are the same file, {str(path)!r}; name another one")


def _refuse_with_refit(stated: Mapping[str, object]) -> None:
    """See that nothing is stated that an engine is built with: one that is there keeps what it has."""
    names = [name for name, value in stated.items() if value]
    if names:
        raise UsageError(
            f"--refit keeps how the engine was built, and {names[0]} says otherwise; leave one of them out"
        )


def _check_compiles(target: str) -> None:
    from graphopt.compiler.engine_kernels import check_compiles_here  # lazily, as the next one: most build elsewhere
    from graphopt.runtime.tensorrt.runtime import TensorRtRuntime

    api = library_for(target)
    check_compiles_here(api, TensorRtRuntime(lambda: api))


def _compile(path: Path, engine: Engine, target: str, tell: Callable[[str], None]) -> Path:
    from graphopt.compiler.engine_kernels import compile_kernels  # lazily, as above
    from graphopt.runtime.tensorrt.runtime import TensorRtRuntime

    runtime = TensorRtRuntime(lambda: library_for(target))
    return compile_kernels(path, engine.manifest["profiles"], runtime, tell=tell)


def _content(path: Path | None) -> bytes | None:
    """What a cache has so far."""
    if path is None:
        return None
    check_output(path, force=True)
    try:
        return path.read_bytes() if path.exists() else b""
    except OSError as err:
        raise UsageError(f"--timing-cache {str(path)!r} can't be read: {err.strerror or err}; check the path") from err
