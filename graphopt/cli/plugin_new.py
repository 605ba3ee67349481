"""``graphopt plugin``: help for those who write plugins."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.text import Text

from graphopt.cli.options import AsJson, UsageError
from graphopt.cli.terminal import show, write_json
from graphopt.passes import suggestion
from graphopt.plugin_manager.new_plugin import write_plugin

__all__ = ["plugin"]


_ACTIONS = ("new",)


def plugin(
    action: Annotated[
        str,
        typer.Argument(
            metavar="new", help="Write a new plugin.", show_default=False, autocompletion=lambda: list(_ACTIONS)
        ),
    ],
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Name of the package, such as graphopt-mychip.", show_default=False),
    ],
    into: Annotated[Path, typer.Option("--into", metavar="DIR", help="Folder in which its folder is made.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Write a package with an operator, a rule, a pass and tests, to start a plugin from."""
    if action not in _ACTIONS:
        hint = suggestion(action, _ACTIONS) or ";"
        raise UsageError(f"graphopt plugin has no action {action!r}{hint} there is: {', '.join(_ACTIONS)}")
    written = write_plugin(name, into)
    folder = next(path for path in written if path.name == "pyproject.toml").parent
    if as_json:
        write_json({"folder": str(folder), "files": [str(path) for path in written]})
        return
    show(
        Group(
            *(Text(str(path)) for path in written),
            Text(f"\nnext: cd {shlex.quote(str(folder))} && pip install -e '.[test]' && pytest"),
        )
    )
