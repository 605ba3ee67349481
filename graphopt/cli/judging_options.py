"""Options that ``quantize`` and ``prune`` share: what a result is judged on, and where it goes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import typer

__all__ = ["ACCURACY", "DATA", "OUTPUT", "Data", "Metric", "Output", "panel_option"]

#: Panels of help.
DATA: Final = "Data"
ACCURACY: Final = "Accuracy"
OUTPUT: Final = "Output"


def panel_option(panel: str, *names: str, text: str, metavar: str | None = None, **more: Any) -> Any:  # noqa: ANN401 - as typer.Option
    """An option in a panel of help, whose default is not shown.

    Args:
        panel: it.
        names: of the option.
        text: what it does.
        metavar: what its value looks like.
        more: as ``typer.Option`` takes it.
    """
    return typer.Option(*names, help=text, metavar=metavar, rich_help_panel=panel, show_default=False, **more)


Output: TypeAlias = Annotated[
    Path | None,
    panel_option(
        OUTPUT,
        "--output",
        "-o",
        metavar="OUT.onnx",
        text="Where to save the result; without it only the report is made.",
    ),
]
Data: TypeAlias = Annotated[
    str | None,
    panel_option(
        DATA,
        "--data",
        metavar="D",
        text="Examples: .npz, a folder of .npy or .npz files, or module:callable. A quarter of them is held out to judge on.",
    ),
]
Metric: TypeAlias = Annotated[
    str | None,
    panel_option(
        ACCURACY,
        "--metric",
        metavar="NAME",
        text="top1, top5, mse, cosine, sqnr, or module:callable. Default: top1 with labels, else sqnr.",
    ),
]
