"""A calibration table, for the terminal and as JSON."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType

from graphopt.passes import CalibrationTable
from graphopt.report.layout import columns, facts
from graphopt.report.units import counted

__all__ = ["calibration_dict", "calibration_view", "constant_tensors"]


def calibration_dict(table: CalibrationTable) -> dict[str, object]:
    """The table as plain values, without what only calibrators read."""
    return {
        "calibrator": table.calibrator,
        "options": dict(table.options),
        "model": table.model,
        "prepare": table.prepare,
        "batches": table.batches,
        "constant": constant_tensors(table),
        "masked": list(table.masked),
        "tensors": [
            {
                "name": name,
                "low": found.low,
                "high": found.high,
                "observed": None
                if name not in table.observed
                else [table.observed[name].low, table.observed[name].high],
                "clipped": table.clipped.get(name),
            }
            for name, found in table.ranges.items()
        ],
    }


def calibration_view(table: CalibrationTable) -> RenderableType:
    """A line for each tensor: its range, what was observed, the share of numbers outside; then what all have in common."""
    rows = [_cells(table, name) for name in table.ranges]
    options = ", ".join(f"{name}={value}" for name, value in table.options.items())
    whole = {
        "calibrator": f"{table.calibrator} ({options})" if options else table.calibrator,
        "tensors": f"{len(table.ranges):,}",
        "batches": f"{table.batches:,}",
        "model": f"{table.model:.12}" + (f", prepared by {table.prepare}" if table.prepare else ""),
    }
    constant = constant_tensors(table)
    if constant:
        whole["constant"] = f"{counted(len(constant), 'tensor')} had one number only: {_some(constant)}"
    if table.masked:
        whole["masked"] = (
            f"{counted(len(table.masked), 'tensor')} had minus infinity and no range: {_some(table.masked)}"
        )
    return Group(columns(("tensor", "low>", "high>", "observed>", "clipped>"), rows), "", facts(whole))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")


def constant_tensors(table: CalibrationTable) -> list[str]:
    """Tensors that had one number only, whatever their range was made."""
    ends = {name: table.observed.get(name, found) for name, found in table.ranges.items()}
    return [name for name, found in ends.items() if found.low == found.high]


def _cells(table: CalibrationTable, name: str) -> list[str]:
    found, seen, share = table.ranges[name], table.observed.get(name), table.clipped.get(name)
    observed = "" if seen is None else f"{seen.low:.6g} .. {seen.high:.6g}"
    clipped = "" if share is None else f"{100 * share:.3g} %"
    return [name, f"{found.low:.6g}", f"{found.high:.6g}", observed, clipped]
