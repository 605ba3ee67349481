"""Whose a pass is, and errors that say so."""

from __future__ import annotations

from graphopt.builtin_plugin import BUILTIN
from graphopt.compiler.compilation import Compilation
from graphopt.errors import GraphoptError

__all__ = ["name_plugin", "owner_of"]


def owner_of(work: Compilation, pass_name: str) -> str:
    """The plugin that a pass comes from, ``""`` for graphopt's own and those that nobody registered."""
    passes = work.environment.plugins.passes
    owner = passes.owner(pass_name) if pass_name in passes else ""
    return "" if owner == BUILTIN else owner


def name_plugin(work: Compilation, error: Exception) -> Exception:
    """The error, with a note that names the plugin whose pass raised it, if one did."""
    owner = owner_of(work, error.pass_name) if isinstance(error, GraphoptError) and error.pass_name else ""
    if owner:
        error.add_note(
            f"the pass comes from plugin {owner!r}; report it there, or leave it out with --no-plugin {owner}"
        )
    return error
