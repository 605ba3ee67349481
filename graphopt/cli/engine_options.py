"""Options of ``graphopt build``: what an engine is built for, and how."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import typer

from graphopt.cli.options import UsageError

__all__ = [
    "Capabilities",
    "Dims",
    "Effort",
    "Examples",
    "Memory",
    "ProfileData",
    "Profiles",
    "Refit",
    "Refittable",
    "RuntimeCache",
    "Sparse",
    "TensorFloat",
    "TimingCache",
    "Values",
    "VersionCompatible",
    "WeightStreaming",
    "parse_capabilities",
    "parse_memory",
]

_SIZES: Final = "Sizes"
_BUILDER: Final = "Builder"
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def _option(panel: str, *names: str, text: str, metavar: str | None = None, **more: Any) -> Any:  # noqa: ANN401 - as typer.Option
    return typer.Option(*names, help=text, metavar=metavar, rich_help_panel=panel, show_default=False, **more)


Profiles: TypeAlias = Annotated[
    list[str] | None,
    _option(
        _SIZES,
        "--profile",
        metavar="INPUT:MIN,USUAL,MAX",
        text="Shapes of an input with sizes that are not fixed, such as x:1x3x224x224,4x3x224x224,8x3x224x224; may be repeated. "
        "Said again of the same input, it is for a further profile.",
    ),
]
Values: TypeAlias = Annotated[
    list[str] | None,
    _option(
        _SIZES,
        "--values",
        metavar="INPUT:MIN,USUAL,MAX",
        text="Numbers of an input from which shapes are computed, such as size:16x16,32x32,64x64; as --profile.",
    ),
]
Dims: TypeAlias = Annotated[
    list[str] | None,
    _option(
        _SIZES,
        "--dim",
        metavar="NAME=MIN,USUAL,MAX",
        text="Sizes of a dimension in all inputs, such as batch=1,4,8; may be repeated, for a further profile too.",
    ),
]
ProfileData: TypeAlias = Annotated[
    Path | None,
    _option(
        _SIZES,
        "--profile-data",
        metavar="FEEDS.npz",
        text="Take sizes from inputs as they are fed: smallest, median and largest of an .npz file, or of a folder of them.",
    ),
]
Capabilities: TypeAlias = Annotated[
    str | None,
    _option(
        _BUILDER,
        "--sm",
        metavar="CC[,CC]",
        text="Compute capabilities to compile for, such as 86,89,120. Default: all that the library supports.",
    ),
]
Examples: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="D",
        help="Of --precision int8: examples to quantize with, .npz, a folder, or module:callable.",
        show_default=False,
    ),
]
Sparse: TypeAlias = Annotated[
    bool | None,
    _option(
        _BUILDER,
        "--sparse/--no-sparse",
        text="Let kernels skip zeros of weights of which at most 2 of 4 are not zero. Default: where there are such weights.",
    ),
]
TensorFloat: TypeAlias = Annotated[
    bool,
    _option(_BUILDER, "--tf32", text="Let products of float32 be rounded to 10 bits of mantissa, which is faster."),
]
WeightStreaming: TypeAlias = Annotated[
    bool, _option(_BUILDER, "--weight-streaming", text="Let weights stay in the memory of the host.")
]
Refittable: TypeAlias = Annotated[
    bool, _option(_BUILDER, "--refittable", text="Let weights be exchanged later, by --refit.")
]
Refit: TypeAlias = Annotated[
    Path | None,
    _option(
        _BUILDER,
        "--refit",
        metavar="OLD.engine",
        text="Build nothing: give this engine, which was built with --refittable, the weights of MODEL.",
    ),
]
VersionCompatible: TypeAlias = Annotated[
    bool, _option(_BUILDER, "--version-compatible", text="Let other versions of the library load the engine.")
]
Effort: TypeAlias = Annotated[
    int | None,
    _option(_BUILDER, "--builder-level", min=0, max=5, text="Effort of the library's own optimization."),
]
Memory: TypeAlias = Annotated[
    list[str] | None,
    _option(
        _BUILDER,
        "--memory",
        metavar="POOL=SIZE",
        text="How much memory the builder may use, such as WORKSPACE=2G; may be repeated.",
    ),
]
TimingCache: TypeAlias = Annotated[
    Path | None,
    _option(
        _BUILDER,
        "--timing-cache",
        metavar="FILE",
        text="What the builder has measured: read if it is there, and written. TensorRT-RTX measures nothing.",
    ),
]

RuntimeCache: TypeAlias = Annotated[
    bool,
    _option(
        _BUILDER,
        "--runtime-cache",
        text="Run the engine once on the GPU that is here, and keep the kernels that TensorRT-RTX compiles in OUT.engine.cache.",
    ),
]


def parse_capabilities(text: str | None) -> tuple[str, ...]:
    """Compute capabilities of a list.

    Raises:
        UsageError: if it is none.

    Example:
        >>> parse_capabilities("86,89")
        ('86', '89')
    """
    if text is None:
        return ()
    if not re.fullmatch(r"\d{2,3}(,\d{2,3})*", text):
        raise UsageError(f"--sm {text!r} is not understood; expected compute capabilities, such as 86,89")
    return tuple(dict.fromkeys(text.split(",")))


def parse_memory(texts: list[str] | None) -> dict[str, int]:
    """Bytes by name of a pool.

    Raises:
        UsageError: if one is not of the form.

    Example:
        >>> parse_memory(["workspace=2G"])
        {'WORKSPACE': 2147483648}
    """
    found: dict[str, int] = {}
    for text in texts or ():
        match = re.fullmatch(r"(\w+)=(\d{1,12})([KMG]?)B?", text.upper())
        if match is None or not int(match[2]):
            raise UsageError(f"--memory {text!r} is not understood; expected POOL=SIZE, such as WORKSPACE=2G")
        found[match[1]] = int(match[2]) * _UNITS[match[3]]
    return found
