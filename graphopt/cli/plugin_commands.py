"""Commands that plugins bring."""

from __future__ import annotations

from collections.abc import Collection
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import typer

from graphopt.errors import PluginError

if TYPE_CHECKING:
    from graphopt.plugin_manager import PluginManager

__all__ = ["plugin_commands"]


def _manager() -> PluginManager:
    from graphopt.plugin_manager import PluginManager  # only when a plugin is installed: help must start fast

    return PluginManager()


def plugin_commands(*, taken: Collection[str]) -> list[Any]:
    """Commands of plugins, in order of registration. Nothing is imported when no plugin is installed.

    Args:
        taken: names that plugins can't have.

    Raises:
        PluginError: if a plugin takes a name that is there already.
    """
    if not entry_points(group="graphopt"):
        return []
    app = typer.Typer(add_completion=False)
    app.callback()(lambda: None)  # one command alone would otherwise become the application itself
    _manager().extend_cli(app)
    group = typer.main.get_command(app)
    found = list(getattr(group, "commands", {}).values())
    for command in found:
        if command.name in taken:
            raise PluginError(
                f"a plugin brings a command {command.name!r}, which graphopt has; see graphopt list plugins"
            )
    return found
