"""``graphopt replay``: whether what a reproducer folder shows still happens."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphopt import compiler
from graphopt.cli.options import AsJson, NoPlugin, Quiet
from graphopt.cli.terminal import progress, show, write_json
from graphopt.report.bisection_view import replay_view

__all__ = ["replay"]

_GONE, _AGAIN = 0, 1


def replay(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder that --reproducer or bisect wrote.", show_default=False)
    ],
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="FILE", help="The model, when it is not in the folder.", show_default=False),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Import passes and rules that the folder names; this runs their code.")
    ] = False,
    no_plugin: NoPlugin = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Run again what a reproducer folder holds, and say whether the failure shows again."""
    with progress(f"replaying {folder}", wanted=not (quiet or as_json)) as tell:
        found = compiler.replay(folder, model=model, trust=trust, progress=tell, no_plugin=no_plugin or ())
    if as_json:
        write_json(found.to_dict())
    elif not quiet:
        show(replay_view(found))
    return _AGAIN if found.again else _GONE
