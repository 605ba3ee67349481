"""The options of ``graphopt optimize``, by what they are for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import typer

__all__ = [
    "LEVEL",
    "TARGET",
    "BisectLimit",
    "Calibrate",
    "CalibrationTableFile",
    "Check",
    "Disable",
    "ExecutorName",
    "Explain",
    "ExternalData",
    "Force",
    "Guard",
    "InputShape",
    "Jobs",
    "Level",
    "Models",
    "Opset",
    "Output",
    "PassStatistics",
    "Passes",
    "PipelinePath",
    "PrintAll",
    "PrintChange",
    "PrintDir",
    "Remarks",
    "Reproducer",
    "SetDim",
    "Settings",
    "Target",
    "TimePasses",
    "VerifyEach",
]

LEVEL: Final = "O2"
TARGET: Final = "onnxruntime"

_OUTPUT = "Output"
_WHAT = "What to run"
_CHECK = "Check"
_INSIDE = "Looking inside"
_SEVERAL = "Several models"


def _option(panel: str, *names: str, text: str, metavar: str | None = None, **more: Any) -> Any:  # noqa: ANN401 - as typer.Option
    return typer.Option(*names, help=text, metavar=metavar, rich_help_panel=panel, show_default=False, **more)


Models: TypeAlias = Annotated[
    list[Path],
    typer.Argument(
        metavar="MODEL...", help="The model, an ONNX file; several, or folders of models.", show_default=False
    ),
]
Output: TypeAlias = Annotated[
    str | None,
    _option(
        _OUTPUT,
        "--output",
        "-o",
        metavar="OUT",
        text="Where to save the result, a folder for several models; without it only the report is made.",
    ),
]
ExternalData: TypeAlias = Annotated[
    bool | None,
    _option(
        _OUTPUT,
        "--external-data/--no-external-data",
        text="Put weights into a file beside the model. Above 2 GB it happens by itself.",
    ),
]
Force: TypeAlias = Annotated[bool, _option(_OUTPUT, "--force", "-f", text="Replace files that are there.")]

Level: TypeAlias = Annotated[
    str | None,
    _option(
        _WHAT,
        "--level",
        "-O",
        metavar="LEVEL",
        text="O0 nothing, O1 exact rewrites, O2 also re-associated sums, O3 also operators of the target's own; or a pipeline by name."
        f" Default: {LEVEL}.",
    ),
]
Target: TypeAlias = Annotated[
    str | None,
    _option(
        _WHAT,
        "--target",
        metavar="NAME",
        text=f"Device or runtime that the model is made for; graphopt list targets. Default: {TARGET}.",
    ),
]
Passes: TypeAlias = Annotated[
    str | None, _option(_WHAT, "--passes", metavar="TEXT", text="Pipeline text instead of a level.")
]
PipelinePath: TypeAlias = Annotated[
    Path | None, _option(_WHAT, "--pipeline", metavar="FILE.toml", text="Pipeline file instead of a level.")
]
Settings: TypeAlias = Annotated[
    list[str] | None,
    _option(_WHAT, "--set", metavar="PASS.OPTION=VALUE", text="Set an option of a pass; may be repeated."),
]
Disable: TypeAlias = Annotated[
    list[str] | None, _option(_WHAT, "--disable", metavar="NAME", text="Leave out a pass or a rule; may be repeated.")
]

SetDim: TypeAlias = Annotated[
    list[str] | None,
    _option(
        _WHAT,
        "--set-dim",
        metavar="NAME=SIZE",
        text="Fix a dynamic dimension of the inputs, or bound it by a range such as seq=1..512; may be repeated.",
    ),
]
InputShape: TypeAlias = Annotated[
    list[str] | None,
    _option(
        _WHAT,
        "--input-shape",
        metavar="INPUT:SIZE,...",
        text="Fix or name the axes of an input, such as x:batch,3,224,224; may be repeated.",
    ),
]
Opset: TypeAlias = Annotated[
    int | None,
    _option(
        _WHAT,
        "--opset",
        metavar="N",
        text="Raise the model to this opset before anything is fused; never lowered.",
        min=1,
    ),
]

Check: TypeAlias = Annotated[
    bool, _option(_CHECK, "--check/--no-check", text="Compare the result with the original; on by default.")
]
Guard: TypeAlias = Annotated[
    bool,
    _option(
        _CHECK,
        "--guard/--no-guard",
        text="With the check for ONNX Runtime, leave out rules that leave it less to fuse; on by default.",
    ),
]

Calibrate: TypeAlias = Annotated[
    str | None,
    _option(
        _WHAT,
        "--calibrate",
        metavar="D",
        text="Data for passes that need some: .npz, a folder of .npy or .npz files, or module:function.",
    ),
]
CalibrationTableFile: TypeAlias = Annotated[
    Path | None,
    _option(
        _WHAT,
        "--table",
        metavar="TABLE.json",
        text="Ranges for passes that need some, as graphopt calibrate finds them.",
    ),
]

Explain: TypeAlias = Annotated[
    str | None,
    _option(
        _INSIDE,
        "--explain",
        metavar="RULE[@NODE]",
        text="Show where a rule was tried, and where in its pattern it stopped and why.",
    ),
]
Remarks: TypeAlias = Annotated[
    str | None,
    _option(
        _INSIDE,
        "--remarks",
        metavar="=made|missed|all",
        text="List rewrites that were made, and those that were missed and why; alone it means all.",
    ),
]
TimePasses: TypeAlias = Annotated[
    bool, _option(_INSIDE, "--time-passes", text="Show how long each pass took, slowest first.")
]
PassStatistics: TypeAlias = Annotated[
    bool, _option(_INSIDE, "--pass-statistics", text="Show bytes of weights and peak memory for each pass, too.")
]
PrintAll: TypeAlias = Annotated[
    bool, _option(_INSIDE, "--print-ir-after-all", text="Write the IR after each pass to stderr.")
]
PrintChange: TypeAlias = Annotated[
    bool,
    _option(_INSIDE, "--print-ir-after-change", text="Write the IR after each pass that changed something to stderr."),
]
PrintDir: TypeAlias = Annotated[
    Path | None, _option(_INSIDE, "--print-ir-dir", metavar="DIR", text="Write the IR to files in this folder instead.")
]
VerifyEach: TypeAlias = Annotated[
    bool, _option(_INSIDE, "--verify-each", text="Check the IR, and what each pass declares, after each pass.")
]
BisectLimit: TypeAlias = Annotated[
    int | None, _option(_INSIDE, "--opt-bisect-limit", metavar="N", text="Stop after the N-th rewrite.", min=0)
]
Reproducer: TypeAlias = Annotated[
    Path | None, _option(_INSIDE, "--reproducer", metavar="DIR", text="Write what replays a failure to this folder.")
]

ExecutorName: TypeAlias = Annotated[
    str | None,
    _option(
        _SEVERAL,
        "--executor",
        metavar="NAME",
        text="What does the work: processes (default), threads, or dask://HOST:PORT.",
    ),
]
Jobs: TypeAlias = Annotated[
    int | None,
    _option(
        _SEVERAL, "--jobs", "-j", metavar="N", text="How many models at the same time. Default: one a core.", min=1
    ),
]
