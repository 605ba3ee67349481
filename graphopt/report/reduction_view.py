"""How a model was made small, as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from graphopt.report.layout import columns, printable
from graphopt.report.units import counted
from graphopt.verify.reduction.result import Reduction
from graphopt.verify.reduction.search import Step

__all__ = ["reduction_view"]


def reduction_view(
    found: Reduction, *, files: Sequence[str] = (), text: str = "", command: str = "", notes: Sequence[str] = ()
) -> RenderableType:
    """What is left of a model, what took away the rest, and how to see the failure again.

    Args:
        found: the reduction.
        files: that were written.
        text: of the model, empty for one that is too large to read.
        command: shows the failure again.
        notes: what else there is to know.
    """
    many = f"{counted(found.nodes_before, 'node')} to {found.nodes_after:,}"
    head = f"{found.kind}: {many}, {counted(found.checks, 'check')}, {found.seconds:.1f} s"
    parts: list[RenderableType] = [Text(printable(head), style="bold")]
    if found.interrupted:
        parts.append(Text("interrupted: it fails all the same, but could be smaller", style="yellow"))
    parts += ["", _steps(found.steps)]
    if text:
        parts += ["", Text(printable(text.rstrip()))]
    parts += [Text(printable(note)) for note in notes]
    if files:
        parts += ["", Text(printable(f"written: {', '.join(files)}"))]
    if command:
        parts += ["", Text(printable(f"to see it again: {command}"), no_wrap=True, overflow="ignore")]  # to be copied
    return Group(*parts)


def _steps(steps: Sequence[Step]) -> RenderableType:
    """Steps that brought something or took long, with a sum."""
    rows = [
        [
            step.name,
            f"{step.nodes_before:,}",
            f"{step.nodes_before - step.nodes_after:,}",
            f"{step.accepted:,}",
            f"{step.checks:,}",
            f"{step.seconds:.2f}",
        ]
        for step in steps
        if step.accepted
    ]
    return columns(("step", "nodes>", "removed>", "accepted>", "checks>", "seconds>"), rows)
