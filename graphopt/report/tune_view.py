"""What tuning tried and kept, as tables for the terminal and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType

from graphopt.report.layout import columns, facts
from graphopt.report.units import seconds_text
from graphopt.runtime.latency import Latency

if TYPE_CHECKING:
    from graphopt.compiler.tuning.search import TrialRecord
    from graphopt.compiler.tuning.tuner import Tuned
    from graphopt.runtime.paired import PairedTimes

__all__ = ["tune_dict", "tune_view"]


def tune_dict(tuned: Tuned) -> dict[str, object]:
    """What was found as plain values; times in seconds."""
    return {
        "source": tuned.source,
        "level": tuned.level,
        "disable": list(tuned.disabled),
        "session": tuned.settings.to_dict(),
        "baseline": tuned.baseline.to_dict(),
        "faster": tuned.times is not None,
        "speedup": tuned.speedup,
        "measured": _times_dict(tuned.times),
        "seconds": round(tuned.seconds, 3),
        "versions": dict(tuned.versions),
        "trials": [
            {
                "name": record.candidate.name,
                "choice": record.candidate.choice,
                "level": record.candidate.level,
                "disable": list(record.candidate.disabled),
                "session": record.candidate.settings.to_dict(),
                "against": record.against,
                "outcome": record.outcome,
                "reason": record.reason,
                "measured": _times_dict(record.times),
            }
            for record in tuned.trials
        ],
    }


def _times_dict(times: PairedTimes | None) -> dict[str, object] | None:
    if times is None:
        return None
    first, second, ratio = Latency(times.first), Latency(times.second), times.ratio
    return {
        "rounds": second.runs,
        "median": second.median,
        "p25": second.percentile(25),
        "p75": second.percentile(75),
        "median_before": first.median,
        "speedup": ratio.speedup,
        "low": ratio.low,
        "high": ratio.high,
    }


def tune_view(tuned: Tuned) -> RenderableType:
    """Each trial, then what is kept and why."""
    heads = ("tried", "against", "rounds>", "median>", "half of them>", "speed>", "")
    rows = [_cells(record) for record in tuned.trials]
    left_out = f" without {', '.join(tuned.disabled)}" if tuned.disabled else ""
    kept = f"level {tuned.level}{left_out}, {tuned.settings}"
    times = tuned.times
    if times is None:
        kept, why = "the original with its settings", "nothing was faster when it was measured again"
        if not any(record.candidate.choice == "confirm" for record in tuned.trials):
            why = "nothing was faster beyond chance"
    else:
        why = f"{times.ratio}; {seconds_text(Latency(times.first).median)} -> {seconds_text(Latency(times.second).median)}"
    whole = {
        "model": tuned.source,
        "original ran with": str(tuned.baseline),
        "kept": kept,
        "because": why,
        "time": seconds_text(tuned.seconds),
    }
    return Group(columns(heads, rows), "", facts(whole))


def _cells(record: TrialRecord) -> list[str]:
    text = record.outcome + (f": {record.reason}" if record.reason else "")
    if record.candidate.choice == "confirm":
        text = "confirmed" if record.outcome == "faster" else f"not confirmed ({text})"
    if record.times is None:
        return [record.candidate.name, record.against, "", "", "", "", text]
    second, ratio = Latency(record.times.second), record.times.ratio
    return [
        record.candidate.name,
        record.against,
        f"{second.runs:,}",
        seconds_text(second.median),
        f"{seconds_text(second.percentile(25))} to {seconds_text(second.percentile(75))}",
        f"{ratio.speedup:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
        text,
    ]
