"""``graphopt build --hybrid``: a folder with engines for what TensorRT takes, and ONNX models for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from graphopt.cli.library_noise import without_library_noise
from graphopt.cli.options import UsageError
from graphopt.cli.terminal import progress, show, write_json
from graphopt.compiler.hybrid import build_hybrid
from graphopt.report.hybrid_view import hybrid_dict, hybrid_view

if TYPE_CHECKING:
    from graphopt.backends.tensorrt.building import EngineOptions
    from graphopt.plugin_manager import PluginManager

__all__ = ["build_folder"]


def build_folder(
    model: Path,
    output: Path,
    options: EngineOptions,
    plugins: PluginManager,
    *,
    of_one_engine: Mapping[str, object],
    as_json: bool,
    quiet: bool,
    **settings: object,
) -> None:
    """Build the folder and tell about it.

    Args:
        model: the model.
        output: the folder.
        options: how engines are built.
        plugins: where passes, backends and converters come from.
        of_one_engine: options that have no meaning for several engines, by their names; what is stated of them is refused.
        as_json: whether JSON is written instead of tables.
        quiet: whether nothing is.
        settings: further arguments of :func:`graphopt.compiler.hybrid.build_hybrid`.

    Raises:
        UsageError: if an option of one engine is stated.
    """
    for name, given in of_one_engine.items():
        if given:
            raise UsageError(
                f"{name} is for a single engine, and --hybrid makes a folder of parts; leave one of them out"
            )
    with without_library_noise(), progress(f"building {model}", wanted=not (quiet or as_json)) as tell:
        built = build_hybrid(model, output, options=options, progress=tell, plugins=plugins, **settings)  # type: ignore[arg-type]
    if as_json:
        write_json(hybrid_dict(built))
    elif not quiet:
        show(hybrid_view(built))
        typer.echo(f"\nsaved: {len(built.manifest.parts):,} parts in {output}; graphopt run {output} runs them")
