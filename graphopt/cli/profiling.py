"""``graphopt profile``: where the time of a model goes, and which rewrites would change that."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphopt.backends.onnx.atomic import check_output, new_files
from graphopt.builtin_plugin import builtin_plugins
from graphopt.cli.options import AsJson, InputFile, ModelPath, NoPlugin, Seed, Sizes, parse_sizes
from graphopt.cli.terminal import progress, show, write_json
from graphopt.compiler.profiling import profile as profile_model
from graphopt.report.profile_page import profile_page
from graphopt.report.profile_view import profile_document, profile_view

__all__ = ["profile"]


def profile(
    model: ModelPath,
    inputs: InputFile = None,
    seed: Seed = 0,
    sizes: Sizes = None,
    runs: Annotated[
        int | None,
        typer.Option("--runs", metavar="N", min=1, help="Runs that count.", show_default=False),
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.0, help="Time for the runs, without --runs.")] = 2.0,
    threads: Annotated[int, typer.Option("--threads", "-t", min=1, help="Threads within an operator.")] = 1,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.html", help="Write a page with a timeline.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace the page if it is there.")] = False,
    no_plugin: NoPlugin = None,
    as_json: AsJson = False,
) -> None:
    """Show where the time of a model goes, by kernel and kind of work, and which rewrites would change that."""
    place = None if output is None else check_output(output, force=force)
    with progress(f"profiling {model}", wanted=not as_json):
        found = profile_model(
            model,
            inputs=inputs,
            runs=runs,
            seconds=seconds,
            threads=threads,
            seed=seed,
            sizes=parse_sizes(sizes),
            plugins=builtin_plugins(no_plugin or ()),
        )
    if place is not None:
        with new_files([place]) as [file]:
            file.write(profile_page(found).encode("utf-8", "xmlcharrefreplace"))
    if as_json:
        write_json(profile_document(found))
    else:
        show(profile_view(found))
