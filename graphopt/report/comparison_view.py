"""How two models differ, as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from graphopt.report.latency_view import LatencyRow, latency_table
from graphopt.report.layout import columns, printable
from graphopt.verify.comparator import Difference
from graphopt.verify.verdict import Verdict

__all__ = ["comparison_view", "difference_table"]


def comparison_view(verdict: Verdict, latencies: Sequence[LatencyRow] = ()) -> RenderableType:
    """The judgement, the worst comparison of each output, and latencies.

    Args:
        verdict: of the comparison.
        latencies: of both models, measured in turns; none when they were not measured.
    """
    parts: list[RenderableType] = [Text(printable(verdict.summary), style="green" if verdict.ok else "red")]
    parts += [Text(printable(line)) for line in verdict.interface]
    parts += [Text(printable(f"{sample.kind} inputs: {sample.error}")) for sample in verdict.samples if sample.error]
    if verdict.worst:
        parts += ["", difference_table(verdict.worst)]
    if latencies:
        parts += ["", latency_table(latencies)]
    return Group(*parts)


def difference_table(differences: Sequence[Difference]) -> RenderableType:
    """Numbers of each output: how far apart, and where it is worst."""
    return columns(
        ("output", "type", "judgement", "max abs>", "relative>", "ulp>", "cosine>", "worst element"),
        [_cells(difference) for difference in differences],
    )


def _cells(found: Difference) -> list[str]:
    worst = "" if found.worst is None else f"{list(found.worst)}: {found.actual}, expected {found.expected}"
    return [
        found.name,
        f"{found.dtype}{list(found.shape)}",
        "same bits" if found.identical else found.status,
        f"{found.max_abs:.3g}",
        f"{found.max_rel:.3g}",
        "" if found.ulp is None else f"{found.ulp:,}",
        "" if found.cosine is None else f"{found.cosine:.7f}",
        "; ".join(filter(None, (worst, found.note))),
    ]
