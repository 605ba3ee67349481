"""How a result is to be checked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CheckRequest"]


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """How a result is to be checked.

    Attributes:
        inputs: an ``.npz`` file or arrays by name; drawn when ``None``.
        seed: of drawn inputs.
        reproducer: folder for what shows a failure again, ``None`` for none.
    """

    inputs: str | os.PathLike[str] | Mapping[str, object] | None = None
    seed: int = 0
    reproducer: Path | None = None
