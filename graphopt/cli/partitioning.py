"""``graphopt partition``: what of a model a target takes, and where it would be cut."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphopt.backends.onnx.files import save
from graphopt.builtin_plugin import builtin_plugins
from graphopt.cli.options import AsJson, ModelPath, NoPlugin, Quiet
from graphopt.cli.terminal import progress, show, write_json
from graphopt.compiler.cutting import cut
from graphopt.errors import OutputError
from graphopt.report.partition_view import partition_dict, partition_view

__all__ = ["partition"]


def partition(
    model: ModelPath,
    target: Annotated[
        str, typer.Option("--target", metavar="NAME", help="What takes as much as it can; ONNX Runtime takes the rest.")
    ] = "tensorrt",
    level: Annotated[
        str, typer.Option("--level", "-O", metavar="NAME", help="What the model goes through before.")
    ] = "O2",
    parts: Annotated[
        Path | None,
        typer.Option(
            "--parts", metavar="FOLDER", help="A new folder for each region as an ONNX model.", show_default=False
        ),
    ] = None,
    no_plugin: NoPlugin = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Show what of a model a target takes, and where it would be cut between the target and ONNX Runtime."""
    if parts is not None and parts.exists():
        raise OutputError(f"{str(parts)!r} exists already; name a folder that does not")
    with progress(f"cutting {model}", wanted=not (quiet or as_json)) as tell:
        found = cut(model, target=target, level=level, progress=tell, plugins=builtin_plugins(tuple(no_plugin or ())))
        files: list[Path] = []
        if parts is not None:
            models = found.parts()
            parts.mkdir(parents=True)
            for place, part in enumerate(models):
                where = "taken" if found.partition.regions[place].taken else "rest"
                files += save(part, parts / f"{place:03}-{where}.onnx")
    if as_json:
        write_json(partition_dict(found) | {"files": [str(path) for path in files]})
    elif not quiet:
        show(partition_view(found))
        if files:
            typer.echo(f"\nsaved: {len(files):,} files in {parts}")
