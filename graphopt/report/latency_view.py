"""Latencies as rows for machines and a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import RenderableType

from graphopt.report.layout import columns
from graphopt.report.units import seconds_text
from graphopt.runtime.latency import Latency, LatencyRatio, latency_ratio

__all__ = ["LatencyRow", "latency_rows", "latency_table"]


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """How long a model took, in seconds.

    Attributes:
        model: its path.
        runs: runs that count.
        median: the middle run.
        mean: the average.
        best: the fastest run.
        p90: time that nine of ten runs do not exceed.
        p99: time that ninety-nine of a hundred do not exceed.
        against_first: how much faster it is than the first model, ``None`` for the first one.
        backend: name of the backend that ran it.
    """

    model: str
    runs: int
    median: float
    mean: float
    best: float
    p90: float
    p99: float
    against_first: LatencyRatio | None
    backend: str = "onnxruntime"


def latency_rows(times: Mapping[str, Latency], backends: Mapping[str, str] | None = None) -> list[LatencyRow]:
    """Statistics of each model; the first is what the others are compared with.

    Args:
        times: by model, measured in turns.
        backends: by model, where not all ran in ONNX Runtime.
    """
    first = next(iter(times.values()))
    return [
        LatencyRow(
            model=name,
            runs=found.runs,
            median=found.median,
            mean=found.mean,
            best=found.best,
            p90=found.percentile(90),
            p99=found.percentile(99),
            against_first=None if found is first else latency_ratio(first, found),
            backend=(backends or {}).get(name, "onnxruntime"),
        )
        for name, found in times.items()
    ]


def latency_table(rows: Sequence[LatencyRow]) -> RenderableType:
    """Latencies as a table for the terminal; the speed is that of the first model by each one's, with half of all rounds."""
    heads = ("model", "runs>", "median>", "mean>", "best>", "90 %>", "99 %>", *(("speed>",) if len(rows) > 1 else ()))
    return columns(heads, [_cells(row, several=len(rows) > 1) for row in rows])


def _cells(row: LatencyRow, *, several: bool) -> list[str]:
    times = [seconds_text(time) for time in (row.median, row.mean, row.best, row.p90, row.p99)]
    ratio = row.against_first
    speed = "1.00" if ratio is None else f"{ratio.speedup:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
    return [row.model, f"{row.runs:,}", *times, *([speed] if several else [])]
