"""The hooks of each version of the hook API, as text: what a plugin that was written for it relies on.

``python -m tests.plugins.hook_versions`` writes the hooks as they are now under the current version. Versions that are there are not
rewritten: who adds a hook, or an argument to one, raises ``HOOK_API_VERSION`` first.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

from graphopt import hookspecs

__all__ = ["FOLDER", "hooks_of", "hooks_text"]

FOLDER = Path(__file__).parent / "hook_api"


def hooks_text() -> str:
    """A line for each hook: its name and arguments."""
    return "".join(
        f"{name}({', '.join(inspect.signature(hook).parameters)})\n"
        for name, hook in sorted(vars(hookspecs).items())
        if name.startswith("graphopt_") and callable(hook)
    )


def hooks_of(text: str) -> dict[str, set[str]]:
    """Arguments by hook."""
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        name, _, arguments = line.removesuffix(")").partition("(")
        found[name] = set(filter(None, arguments.split(", ")))
    return found


def main() -> None:
    """Write the current version."""
    path = FOLDER / f"{hookspecs.HOOK_API_VERSION}.txt"
    if path.exists() and path.read_text(encoding="utf-8") != hooks_text():
        sys.exit(f"{path} has other hooks; raise HOOK_API_VERSION in graphopt/hookspecs.py, then run this again")
    FOLDER.mkdir(exist_ok=True)
    path.write_text(hooks_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
