"""``graphopt build``: an engine for TensorRT, on any machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from graphopt.backends.onnx.atomic import check_output
from graphopt.builtin_plugin import builtin_plugins
from graphopt.cli.options import AsJson, InputFile, ModelPath, NoPlugin, Quiet, Seed, UsageError
from graphopt.cli.terminal import progress, show, write_json
from graphopt.compiler.building import build as build_engine
from graphopt.report.build_view import build_dict, build_view

__all__ = ["build"]


def build(
    model: ModelPath,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="OUT.engine", help="Where the engine goes; its manifest goes beside it."
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
        typer.Option("--precision", metavar="TYPE", help="fp32 keeps the types of the model; fp16, bf16 halve floats."),
    ] = "fp32",
    sm: Annotated[
        str | None,
        typer.Option(
            "--sm",
            metavar="CC[,CC]",
            help="Compute capabilities to compile for, such as 86,89,120. Default: all that the library supports.",
            show_default=False,
        ),
    ] = None,
    profile: Annotated[
        list[str] | None,
        typer.Option(
            "--profile",
            metavar="INPUT:MIN,USUAL,MAX",
            help="Shapes of an input with sizes that are not fixed, such as x:1x3x224x224,4x3x224x224,8x3x224x224; may be repeated.",
            show_default=False,
        ),
    ] = None,
    dim: Annotated[
        list[str] | None,
        typer.Option(
            "--dim",
            metavar="NAME=MIN,USUAL,MAX",
            help="Sizes of a dimension wherever it stands, such as batch=1,4,8; may be repeated.",
            show_default=False,
        ),
    ] = None,
    weight_streaming: Annotated[
        bool, typer.Option("--weight-streaming", help="Let weights stay in the memory of the host.")
    ] = False,
    builder_level: Annotated[
        int | None,
        typer.Option(
            "--builder-level", min=0, max=5, help="Effort of the library's own optimization.", show_default=False
        ),
    ] = None,
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
    check_output(output, force=force)  # before the work, not after it
    with progress(f"building {model}", wanted=not (quiet or as_json)) as tell:
        engine = build_engine(
            model,
            target=target,
            level=level,
            precision=precision,
            capabilities=_capabilities(sm),
            profiles=dict(_split(item, ":", "--profile") for item in profile or ()),
            sizes=dict(_sizes(item) for item in dim or ()),
            weight_streaming=weight_streaming,
            builder_level=builder_level,
            check=check,
            inputs=inputs,
            seed=seed,
            progress=tell,
            plugins=builtin_plugins(tuple(no_plugin or ())),
        )
        tell("saving")
        files = engine.save(output, force=force)
    if as_json:
        write_json(build_dict(engine) | {"files": [str(path) for path in files]})
    elif not quiet:
        show(build_view(engine))
        typer.echo(f"\nsaved: {', '.join(str(path) for path in files)}")


def _capabilities(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    if not re.fullmatch(r"\d{2,3}(,\d{2,3})*", text):
        raise UsageError(f"--sm {text!r} is not understood; expected compute capabilities, such as 86,89")
    return tuple(text.split(","))


def _split(text: str, mark: str, option: str) -> tuple[str, str]:
    name, found, rest = text.rpartition(mark)
    if not (name and found and rest):
        raise UsageError(f"{option} {text!r} is not understood; expected a name, {mark!r}, and sizes")
    return name, rest


def _sizes(text: str) -> tuple[str, tuple[int, ...]]:
    """A dimension with its smallest, usual and largest size."""
    name, rest = _split(text, "=", "--dim")
    if not re.fullmatch(r"\d+(,\d+,\d+)?", rest):
        raise UsageError(f"--dim {text!r} is not understood; expected NAME=MIN,USUAL,MAX, such as batch=1,4,8")
    sizes = tuple(int(size) for size in rest.split(","))
    return name, sizes if len(sizes) == 3 else sizes * 3
