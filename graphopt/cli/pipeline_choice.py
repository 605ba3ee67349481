"""Which pipeline the options ``--level``, ``--passes`` and ``--pipeline`` ask for together."""

from __future__ import annotations

from pathlib import Path

from graphopt.cli.optimize_options import LEVEL
from graphopt.cli.options import UsageError
from graphopt.errors import PipelineError
from graphopt.passes import Pipeline, PipelineFile, read_pipeline_file
from graphopt.plugin_manager import PluginManager

__all__ = ["choose_pipeline", "read_pipeline"]


def choose_pipeline(
    plugins: PluginManager, level: str | None, passes: str | None, file: PipelineFile | None
) -> Pipeline | str | None:
    """What to run instead of a level, ``None`` for that.

    Raises:
        UsageError: if options contradict each other.
    """
    stated = [
        name for name, given in (("--level", level), ("--passes", passes), ("--pipeline", file)) if given is not None
    ]
    if len(stated) > 1 and not (level is not None and file is not None and file.text is None):
        raise UsageError(f"{' and '.join(stated)} each say what to run; state one of them")
    if file is None:
        return passes
    return file.build(plugins.passes, LEVEL if level is None else level)


def read_pipeline(path: Path) -> PipelineFile:
    """A pipeline file; what it states and the check cannot follow is an error, not something to pass over.

    Raises:
        PipelineError: if it can't be read, or states such a thing.
    """
    file = read_pipeline_file(path)
    stated = {
        "check.rtol": file.check.rtol,
        "check.atol": file.check.atol,
        "check.samples": file.check.samples,
        "inputs.shapes": file.inputs.shapes,
        "inputs.dims": file.inputs.dims,
    }
    for name, value in stated.items():
        if value:
            raise PipelineError(f"pipeline file {str(path)!r}: the check can't follow {name}; take it out")
    return file
