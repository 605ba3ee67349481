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
    modules: dict[str, str] = {}
    for info in app.registered_commands:
        module = getattr(info.callback, "__module__", "?")
        name = info.name or getattr(info.callback, "__name__", "?").replace("_", "-")
        if name in taken:
            raise PluginError(f"command {name!r} of plugin module {module!r} is one of graphopt; rename it there")
        if name in modules:
            one, two = sorted((modules[name], module))
            raise PluginError(f"command {name!r} is registered by both plugin modules {one!r} and {two!r}; rename one")
        modules[name] = module
    return list(getattr(typer.main.get_command(app), "commands", {}).values())
