"""``graphopt bisect``: the pass and the rewrite that make a result wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from graphopt import compiler
from graphopt.builtin_plugin import builtin_plugins
from graphopt.cli import optimize_options as asked
from graphopt.cli.options import AsJson, InputFiles, ModelPath, NoPlugin, OptionalSeed, Quiet, SeedCount, check_rtol
from graphopt.cli.pipeline_choice import choose_pipeline, read_pipeline
from graphopt.cli.terminal import progress, show, write_json
from graphopt.passes import parse_overrides
from graphopt.report.bisection_view import bisection_view
from graphopt.verify.verdict import FailureKind

__all__ = ["bisect"]

_NOTHING, _FOUND = 0, 1


def bisect(
    model: ModelPath,
    level: asked.Level = None,
    target: asked.Target = None,
    passes: asked.Passes = None,
    pipeline: asked.PipelinePath = None,
    settings: asked.Settings = None,
    disable: asked.Disable = None,
    no_plugin: NoPlugin = None,
    inputs: InputFiles = None,
    seeds: SeedCount = 4,
    seed: OptionalSeed = None,
    rtol: Annotated[
        float | None,
        typer.Option(
            "--rtol",
            min=0.0,
            callback=check_rtol,
            help="Difference allowed in float32, relative to an output's largest number; 0 allows none. Default: what passes declare.",
            show_default=False,
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            metavar="KIND",
            help="Look for one kind of failure only: wrong-numbers, invalid-model, exception or crash. The last one is a crash of the "
            "runtime; passes run in this process, and for one that crashes there is graphopt reduce.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Write a folder that shows the failure again; DIR-2 if there is a DIR.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Find the pass, and the rewrite in it, that makes a result wrong."""
    plugins = builtin_plugins(no_plugin or ())
    file = None if pipeline is None else read_pipeline(pipeline)
    stated = file.inputs_path if file is not None else None
    with progress(f"bisecting {model}", wanted=not (quiet or as_json)) as tell:
        found = compiler.bisect(
            model,
            level=asked.LEVEL if level is None else level,
            target=target or (file.target if file is not None else None) or asked.TARGET,
            pipeline=choose_pipeline(plugins, level, passes, file, rules=True),
            options=parse_overrides(settings or []),
            inputs=inputs or stated,
            samples=seeds,
            seed=seed if seed is not None else file.check.seed if file is not None else 0,
            rtol=rtol,
            kind=cast("FailureKind | None", kind),  # looked at there
            disabled=(*(disable or ()), *(file.disable if file is not None else ())),
            reproducer=output,
            progress=tell,
            plugins=plugins,
        )
    if as_json:
        write_json(found.to_dict())
    elif not quiet:
        show(bisection_view(found))
    return _NOTHING if found.ok else _FOUND
