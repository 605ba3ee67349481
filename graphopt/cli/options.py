"""Options that several commands share, so that they read and behave alike everywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from graphopt.compiler.request import MOST_SAMPLES
from graphopt.errors import GraphoptError
from graphopt.passes import SessionSettings, read_pipeline_file

__all__ = [
    "AsJson",
    "BackendName",
    "CoefficientsFile",
    "InputFile",
    "InputFiles",
    "ModelPath",
    "NoPlugin",
    "OptionalSeed",
    "Quiet",
    "Seed",
    "SeedCount",
    "SessionFile",
    "Sizes",
    "UsageError",
    "check_rtol",
    "parse_sizes",
    "read_session",
    "refuse_settings_elsewhere",
]


#: A size is an int64 in ONNX.
_DIGITS = 18


class UsageError(GraphoptError):
    """Options of a command line contradict each other or do not make sense."""


ModelPath: TypeAlias = Annotated[
    Path, typer.Argument(metavar="MODEL", help="The model, an ONNX file.", show_default=False)
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Write one JSON document to stdout instead of tables.")]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="Write nothing but errors.")]
Seed: TypeAlias = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Seed of generated inputs.")]
OptionalSeed: TypeAlias = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", min=0, help="Seed of generated inputs. Default: 0.", show_default=False),
]
InputFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--inputs", metavar="FILE.npz", help="Inputs by name, instead of generated ones.", show_default=False),
]
InputFiles: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        "--inputs",
        metavar="FILE.npz",
        help="Inputs by name, instead of generated ones; may be repeated.",
        show_default=False,
    ),
]
SeedCount: TypeAlias = Annotated[
    int,
    typer.Option(
        "--seeds",
        metavar="N",
        min=1,
        max=MOST_SAMPLES,
        help=f"How many times inputs are generated; {MOST_SAMPLES} at most.",
    ),
]
BackendName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--backend",
        metavar="NAME",
        help="What runs it: onnxruntime, tensorrt, or a backend of a plugin. Default: what MODEL is for.",
        show_default=False,
    ),
]
CoefficientsFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--coefficients",
        metavar="FILE.json",
        help="Coefficients of the cost model, instead of those in the user's cache folder.",
        show_default=False,
    ),
]
NoPlugin: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--no-plugin", metavar="NAME", help="Leave a plugin out; may be repeated.", show_default=False),
]
SessionFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--options",
        metavar="FILE.toml",
        help="Run with the settings of ONNX Runtime in [session] of this file, as graphopt tune writes it.",
        show_default=False,
    ),
]
Sizes: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--dim", metavar="NAME=SIZE", help="Size of a dynamic dimension; may be repeated.", show_default=False
    ),
]


def check_rtol(rtol: float | None) -> float | None:
    """The tolerance as it was stated, ``None`` if it was not; a callback of its option.

    Raises:
        UsageError: if everything would be within it, or nothing.
    """
    if rtol is not None and not math.isfinite(rtol):
        raise UsageError(f"--rtol is {rtol}, expected a finite number, 0 or more")
    return rtol


def parse_sizes(texts: Sequence[str] | None) -> dict[str, int]:
    """Sizes by name, from ``NAME=SIZE`` texts.

    Raises:
        UsageError: if one is not of that form.

    Example:
        >>> parse_sizes(["batch=4"])
        {'batch': 4}
    """
    found: dict[str, int] = {}
    for text in texts or ():
        name, equals, size = text.rpartition("=")
        if not equals or not name or not size.isdecimal() or len(size) > _DIGITS:
            raise UsageError(
                f"--dim {text!r} is not understood; expected NAME=SIZE with a whole number, such as batch=1"
            )
        found[name] = int(size)
    return found


def read_session(path: Path | None) -> SessionSettings:
    """The settings of ONNX Runtime in a pipeline file; none without a file.

    Raises:
        PipelineError: if it can't be read.
    """
    return SessionSettings() if path is None else read_pipeline_file(path).session


def refuse_settings_elsewhere(*backends: str) -> None:
    """See that settings of ONNX Runtime are not given to something else, which would pass over them.

    Raises:
        UsageError: naming the first backend that is not ONNX Runtime.
    """
    for name in backends:
        if not name.startswith("onnx"):
            raise UsageError(f"--options sets ONNX Runtime, and --backend {name} does without; leave one of them out")
