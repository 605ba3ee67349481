"""Which pipeline the options ``--level``, ``--passes`` and ``--pipeline`` ask for together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from graphopt.cli.optimize_options import LEVEL
from graphopt.cli.options import UsageError
from graphopt.compiler.requested import with_requests
from graphopt.data import shipped_pipeline
from graphopt.errors import PipelineError
from graphopt.passes import Pipeline, PipelineFile, read_pipeline_file
from graphopt.plugin_manager import PluginManager
from graphopt.target import Target
from graphopt.transforms.input_sizes import InputSizes, parse_dim, parse_shape

__all__ = ["choose_pipeline", "read_pipeline", "stated_requests"]

_T = TypeVar("_T")


def choose_pipeline(
    plugins: PluginManager,
    level: str | None,
    passes: str | None,
    file: PipelineFile | None,
    *,
    whole: bool = True,
    rules: bool = False,
) -> Pipeline | str | None:
    """What to run instead of a level, ``None`` for that.

    Args:
        plugins: where passes come from.
        level: as the option has it, like what follows.
        passes: pipeline text.
        file: pipeline file.
        whole: whether passes for the sizes and the opset that a file states are part of it.
        rules: whether the caller leaves out the rules that a file disables.

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
    built = file.build(plugins.passes, LEVEL if level is None else level, rules=rules)
    return with_requests(built, *stated_requests(file), Target()) if whole else built


def stated_requests(
    file: PipelineFile | None,
    dims: Sequence[str] | None = None,
    shapes: Sequence[str] | None = None,
    opset: int | None = None,
) -> tuple[InputSizes, int | None]:
    """Sizes of inputs and the opset that are asked for; an option goes before what the file says of the same.

    Args:
        file: the pipeline file.
        dims: values of ``--set-dim``.
        shapes: values of ``--input-shape``.
        opset: value of ``--opset``.

    Raises:
        UsageError: if an option is not understood, or contradicts itself.
    """
    stated = InputSizes() if file is None else InputSizes(file.inputs.shapes, file.inputs.dims)
    sizes = InputSizes(
        {**stated.shapes, **_by_name("--input-shape", shapes, parse_shape)},
        {**stated.dims, **_by_name("--set-dim", dims, parse_dim)},
    )
    return sizes, opset if opset is not None or file is None else file.opset


def _by_name(option: str, texts: Sequence[str] | None, parse: Callable[[str], tuple[str, _T]]) -> dict[str, _T]:
    found: dict[str, _T] = {}
    for text in texts or ():
        try:
            name, value = parse(text)
        except PipelineError as err:
            raise UsageError(f"{option} {err}") from err
        if found.setdefault(name, value) != value:
            raise UsageError(f"{option} is given twice for {name!r}, each time otherwise; give it once")
    return found


def read_pipeline(path: Path) -> PipelineFile:
    """A pipeline file, or one that ships with graphopt by its name; what it states and the check cannot follow is an error.

    Raises:
        PipelineError: if it can't be read, or states such a thing.
    """
    shipped = None if path.exists() else shipped_pipeline(path.name if path.parent == Path() else "")
    file = read_pipeline_file(path if shipped is None else shipped)
    stated = {
        "check.rtol": file.check.rtol,
        "check.atol": file.check.atol,
        "check.samples": file.check.samples,
    }
    for name, value in stated.items():
        if value:
            raise PipelineError(f"pipeline file {str(path)!r}: the check can't follow {name}; take it out")
    return file
