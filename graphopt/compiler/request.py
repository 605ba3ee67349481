"""How a result is to be checked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["MOST_SAMPLES", "CheckRequest", "InputSet"]

#: How many sets of inputs, or seeds of them, may be asked for: they are held in memory, and more tell nothing new.
MOST_SAMPLES: Final = 1000

#: One set of inputs: an ``.npz`` file, or arrays by name.
InputSet = str | os.PathLike[str] | Mapping[str, object]


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """How a result is to be checked.

    Attributes:
        inputs: an ``.npz`` file, arrays by name, or several of these; drawn when ``None``.
        seed: of drawn inputs.
        reproducer: folder for what shows a failure again, ``None`` for none.
        samples: how many sets are drawn.
        disabled: passes and rules that are left out, for the reproducer.
        as_onnx: whether the model is run as ONNX though its target has a runtime.
    """

    inputs: InputSet | Sequence[InputSet] | None = None
    seed: int = 0
    reproducer: Path | None = None
    samples: int = 4
    disabled: tuple[str, ...] = ()
    as_onnx: bool = False
