"""``graphopt diff``: what is different between two models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphopt.analysis.model_diff import diff_models
from graphopt.builtin_plugin import builtin_plugins
from graphopt.cli.options import AsJson, NoPlugin
from graphopt.cli.terminal import progress, show, write_json
from graphopt.compiler import Environment
from graphopt.report.diff_view import diff_document, diff_view

__all__ = ["diff"]

_DIFFERENT = 1


def diff(
    one: Annotated[Path, typer.Argument(metavar="A", help="The model to start from.", show_default=False)],
    two: Annotated[Path, typer.Argument(metavar="B", help="The other one.", show_default=False)],
    everything: Annotated[bool, typer.Option("--all", help="List all nodes, not only the first of each kind.")] = False,
    numbers: Annotated[
        bool, typer.Option("--numbers", help="Measure how far large weights differ too, which reads them.")
    ] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 1 if the models differ.")] = False,
    no_plugin: NoPlugin = None,
    as_json: AsJson = False,
) -> int:
    """Show what is different between two models: nodes by lineage, weights, interface."""
    environment = Environment(builtin_plugins(no_plugin or ()))
    with progress(f"comparing {one} and {two}", wanted=not as_json) as tell:
        first, second = environment.lift(one), environment.lift(two)
        tell("nodes")
        found = diff_models(first, second, numbers=numbers)
    if as_json:
        write_json(diff_document(found))
    else:
        show(diff_view(found, everything=everything))
    return _DIFFERENT if exit_code and not found.is_empty else 0
