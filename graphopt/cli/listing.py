"""``graphopt list``: what there is."""

from __future__ import annotations

from typing import Annotated

import typer

from graphopt.builtin_plugin import builtin_plugins
from graphopt.cli.options import AsJson, NoPlugin
from graphopt.cli.terminal import show, write_json
from graphopt.plugin_manager import KINDS
from graphopt.report.listing_view import listing_view

__all__ = ["list_"]


def list_(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND", help=f"One of {', '.join(KINDS)}.", show_default=False, autocompletion=lambda: list(KINDS)
        ),
    ],
    no_plugin: NoPlugin = None,
    as_json: AsJson = False,
) -> None:
    """List what is there: passes, rules, pipelines, targets, backends, plugins or hooks."""
    rows = builtin_plugins(no_plugin or ()).describe(kind)
    if as_json:
        write_json(rows)
    else:
        show(listing_view(kind, rows))
