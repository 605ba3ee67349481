"""``graphopt tune``: the fastest way to run a model on this machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from graphopt.backends.onnx.atomic import check_output
from graphopt.cli.options import AsJson, InputFile, ModelPath, NoPlugin, Quiet, Seed, Sizes, UsageError, parse_sizes
from graphopt.cli.terminal import progress, show, write_json
from graphopt.compiler.tuning.tuner import tune as find_fastest
from graphopt.report.tune_view import tune_dict, tune_view

__all__ = ["tune"]


def tune(
    model: ModelPath,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="TUNED.toml", help="Where to save what was found.", show_default=False),
    ] = None,
    save_model: Annotated[
        Path | None,
        typer.Option("--save-model", metavar="OUT.onnx", help="Where to save the model itself.", show_default=False),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.001, help="Time for measuring; models are made besides.")
    ] = 60.0,
    threads: Annotated[
        str | None,
        typer.Option(
            "--threads",
            "-t",
            metavar="N[,N]",
            help="Threads within an operator that may be used; the original runs with the most. Default: 1 and all cores.",
            show_default=False,
        ),
    ] = None,
    inputs: InputFile = None,
    seed: Seed = 0,
    sizes: Sizes = None,
    executor: Annotated[
        str,
        typer.Option("--executor", metavar="NAME", help="What runs trials: processes, threads, or dask://HOST:PORT."),
    ] = "processes",
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace files that are there.")] = False,
    no_plugin: NoPlugin = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find the fastest way to run a model on this machine: how to optimize it, how to set ONNX Runtime."""
    for path in (output, save_model):
        if path is not None:
            check_output(path, force=force)  # before the work, not after it
    with progress(f"tuning {model}", wanted=not (quiet or as_json)) as tell:
        tuned = find_fastest(
            model,
            seconds=seconds,
            threads=_parse_threads(threads),
            inputs=inputs,
            seed=seed,
            sizes=parse_sizes(sizes),
            executor=executor,
            blocked=no_plugin or (),
            progress=tell,
        )
        tell("saving")
        if save_model is not None:
            tuned.save_model(save_model, force=force)
        if output is not None:
            tuned.save(output, force=force)
    if as_json:
        files = [str(path) for path in (output, save_model) if path is not None]
        write_json(tune_dict(tuned) | {"files": files})
    elif not quiet:
        show(tune_view(tuned))


def _parse_threads(text: str | None) -> list[int] | None:
    """Numbers of threads, from ``N,N``.

    Raises:
        UsageError: if it is not of that form.
    """
    if text is None:
        return None
    if not re.fullmatch(r"[1-9]\d{0,3}(,[1-9]\d{0,3})*", text):
        raise UsageError(f"--threads {text!r} is not understood; expected numbers of 1 and more, such as 1,4")
    return [int(part) for part in text.split(",")]
