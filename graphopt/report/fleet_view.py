"""What became of several models, as a table for the terminal and as JSON."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from graphopt.report.layout import columns, facts, printable
from graphopt.report.units import bytes_text, counted, seconds_text

if TYPE_CHECKING:
    from graphopt.compiler.fleets.fleet_report import FleetModel, FleetReport, Status

__all__ = ["fleet_dict", "fleet_view"]

_STATUS: dict[Status, str] = {"done": "done", "skipped": "there already", "wrong": "wrong", "failed": "failed"}


def fleet_dict(report: FleetReport, seconds: float) -> dict[str, object]:
    """The report as plain values."""
    return {
        "folder": report.folder,
        "pipeline": report.pipeline,
        "target": report.target,
        **{status: report.count(status) for status in ("done", "skipped", "wrong", "failed")},
        "seconds": round(seconds, 3),
        "models": [
            {
                "source": model.source,
                "name": model.name,
                "status": model.status,
                "reason": model.reason,
                "seconds": round(model.seconds, 3),
                **model.summary,
            }
            for model in report.models
        ],
    }


def fleet_view(report: FleetReport, seconds: float) -> RenderableType:
    """A line for each model, then why some failed, then the totals."""
    rows = [_cells(model) for model in report.models]
    parts: list[RenderableType] = [columns(("model", "", "nodes>", "weights>", "time>", "check"), rows)]
    reasons = [f"{model.source}: {model.reason}" for model in report.models if model.reason]
    notes = [f"{model.source}: {note}" for model in report.models for note in _texts(model, "notes")]
    parts += [Text(printable(text), style="red") for text in reasons]
    parts += [Text(printable(text), style="yellow") for text in notes]
    ends = Counter(model.status for model in report.models)
    totals = ", ".join(f"{ends[status]:,} {text}" for status, text in _STATUS.items() if ends[status])
    whole = {
        "models": f"{counted(len(report.models), 'model')}: {totals}",
        "target": report.target,
        "folder": report.folder or "nothing was saved",
        "time": seconds_text(seconds),
    }
    return Group(*parts, "", facts(whole))


def _cells(model: FleetModel) -> list[str]:
    summary = model.summary
    time = seconds_text(model.seconds) if model.status == "done" else ""
    if not summary:
        return [model.source, _STATUS[model.status], "", "", time, ""]
    nodes, size = (_change(summary, what) for what in ("nodes", "bytes"))
    return [model.source, _STATUS[model.status], nodes, size, time, str(summary.get("check", ""))]


def _change(summary: dict[str, object], what: str) -> str:
    found = [summary.get(f"{what}_{when}") for when in ("before", "after")]
    spell = bytes_text if what == "bytes" else lambda number: f"{number:,}"
    return " -> ".join(spell(number) if isinstance(number, int) else "?" for number in found)


def _texts(model: FleetModel, key: str) -> list[str]:
    found = model.summary.get(key)
    return [str(text) for text in found] if isinstance(found, list) else []
