"""Whether ``graphopt optimize`` is given one model or several; imports nothing of what works on several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from graphopt.cli.options import UsageError

__all__ = ["is_fleet", "refuse_options_of_one"]


def is_fleet(models: Sequence[Path], output: str | None) -> bool:
    """Whether several models are meant: by their number, a folder among them, or a folder for the result."""
    return (
        len(models) > 1
        or any(model.is_dir() for model in models)
        or (output is not None and (output.endswith(("/", "\\")) or Path(output).is_dir()))
    )


def refuse_options_of_one(given: Mapping[str, object]) -> None:
    """See that no option is given that shows the inside of one model.

    Raises:
        UsageError: naming the first one.
    """
    for name, value in given.items():
        if value is not None and value is not False:
            raise UsageError(
                f"{name} is for one model; leave it out, or name a single model and the file of its result"
            )
