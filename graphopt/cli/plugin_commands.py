"""Commands that plugins bring."""

from __future__ import annotations

from collections.abc import Collection, Iterator
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
    for name, module in _registered(app):
        if name in taken:
            raise PluginError(f"command {name!r} of plugin module {module!r} is one of graphopt; rename it there")
        if name in modules:
            one, two = sorted((modules[name], module))
            raise PluginError(f"command {name!r} is registered by both plugin modules {one!r} and {two!r}; rename one")
        modules[name] = module
    return list(getattr(typer.main.get_command(app), "commands", {}).values())


def _registered(app: typer.Typer) -> Iterator[tuple[str, str]]:
    """Each command or group of commands with the module that it comes from, that of its first command for a group."""
    for command in app.registered_commands:
        module = getattr(command.callback, "__module__", "?")
        yield command.name or getattr(command.callback, "__name__", "?").replace("_", "-"), module
    for group in app.registered_groups:
        inner = group.typer_instance
        first = inner.registered_commands[0].callback if inner is not None and inner.registered_commands else None
        name = group.name if isinstance(group.name, str) else getattr(inner, "info", group).name
        yield str(name), getattr(first, "__module__", "?")
