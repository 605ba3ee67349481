"""What quantizing and evaluating gave, as tables for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import RenderableType

from graphopt.report.layout import facts
from graphopt.report.units import counted, seconds_text

if TYPE_CHECKING:
    from graphopt.compiler.quantizing.evaluating import Evaluation

__all__ = ["evaluation_view"]


def evaluation_view(found: Evaluation) -> RenderableType:
    """Each metric in a line."""
    rows = {"model": found.source, "backend": found.backend}
    if found.reference:
        rows["compared with"] = found.reference
    rows |= {name: found.kinds[name].text(value) for name, value in found.values.items()}
    each = seconds_text(found.seconds / max(found.examples, 1))
    rows["data"] = (
        f"{counted(found.examples, 'example')} in {counted(found.batches, 'batch', 'batches')}, {each} for each"
    )
    return facts(rows)
