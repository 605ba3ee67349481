"""The report of an optimization as tables for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from graphopt.passes import PassRecord
from graphopt.passes.record import pass_totals
from graphopt.report.layout import columns, facts, printable
from graphopt.report.units import bytes_text, seconds_text

if TYPE_CHECKING:
    from graphopt.compiler import OptimizeReport

__all__ = [
    "optimize_view",
    "pass_table",
    "section_view",
    "statistics_table",
    "time_table",
]

_OPS_SHOWN = 12


def optimize_view(
    report: OptimizeReport, *, by_time: bool = False, statistics: bool = False, files: Sequence[Path] = ()
) -> RenderableType:
    """What happened to a model: each pass, the totals, the verdict.

    Args:
        report: of the optimization.
        by_time: whether to list all passes, slowest first, instead of those that did something.
        statistics: whether to list bytes and peak memory of each run of a pass, too.
        files: what was written.
    """
    passes = time_table(report) if by_time else pass_table(report.passes)
    parts: list[RenderableType] = [passes, "", _totals(report)]
    if statistics:
        parts += ["", statistics_table(report.passes)]
    changed = _changed_ops(report.ops_before, report.ops_after)
    if changed:
        parts += ["", columns(("operator", "before>", "after>"), changed)]
    for note in report.notes:
        parts += ["", Text(printable(note), style="yellow")]
    if files:
        sizes = (f"{path} ({bytes_text(path.stat().st_size)})" for path in files)
        parts += ["", Text(f"saved: {', '.join(sizes)}")]
    return Group(*parts)


def time_table(report: OptimizeReport) -> RenderableType:
    """Time and number of runs of each pass, slowest first."""
    whole = max(sum(report.seconds.values()), 1e-9)
    rows = [
        (record.text, str(record.rounds), seconds_text(record.ms / 1e3), f"{record.ms / 10 / whole:.1f} %")
        for record in sorted(pass_totals(report.passes), key=lambda record: -record.ms)
    ]
    rows += [
        (f"({phase})", "", seconds_text(spent), f"{100 * spent / whole:.1f} %")
        for phase, spent in report.seconds.items()
    ]
    return columns(("pass", "runs>", "time>", "part>"), rows)


def statistics_table(records: Iterable[PassRecord]) -> RenderableType:
    """Nodes and bytes of weights before and after each run of a pass, and the memory that it took."""
    rows: list[tuple[str, str, str, str]] = []
    todo = list(records)[::-1]
    while todo:
        record = todo.pop()
        todo.extend(reversed(record.children))
        if record.is_group or record.skipped:
            continue
        before, after = (_bytes_or_nothing(size) for size in (record.bytes_before, record.bytes_after))
        nodes = f"{record.nodes_before:,} -> {record.nodes_after:,}"
        rows.append((record.text, nodes, f"{before} -> {after}", _bytes_or_nothing(record.peak_bytes)))
    return columns(("run of a pass", "nodes>", "weights>", "more memory>"), rows)


def _bytes_or_nothing(size: int | None) -> str:
    return "?" if size is None else bytes_text(size)


def section_view(title: str, text: str) -> RenderableType:
    """A section that a plugin adds."""
    return Group("", Text(title, style="bold"), Text(text))


def pass_table(records: Iterable[PassRecord]) -> RenderableType:
    """What each pass did: nodes it added or removed, what it counted, time. Passes that did nothing share a line."""
    rows: list[tuple[str, str, str, str, str]] = []
    idle: list[str] = []
    for record in pass_totals(records):
        if not record.changed:
            idle.append(f"{record.text} ({record.skipped})" if record.skipped else record.text)
            continue
        did = ", ".join(f"{name} {count:,}" for name, count in record.stats.items() if count)
        nodes = f"{record.nodes_after:+,}" if record.nodes_after else "0"
        rows.append((record.text, nodes, str(record.numerics), seconds_text(record.ms / 1e3), did))
    table = columns(("pass", "nodes>", "numerics", "time>", "what it did"), rows)
    if not idle:
        return table
    nothing = Text(f"nothing to do: {', '.join(idle)}")
    return Group(table, nothing) if rows else nothing


def _totals(report: OptimizeReport) -> RenderableType:
    rows = {
        "level": report.level or "own pipeline",
        "target": report.target,
        "nodes": f"{report.nodes_before:,} -> {report.nodes_after:,}",
        "weights": f"{bytes_text(report.bytes_before)} -> {bytes_text(report.bytes_after)}",
        "numerics": str(report.numerics),
        "check": "not asked for" if report.verdict is None else str(report.verdict.summary),
        "time": ", ".join(f"{phase} {seconds_text(spent)}" for phase, spent in report.seconds.items()),
    }
    return facts(rows)


def _changed_ops(before: Counter[str], after: Counter[str]) -> list[tuple[str, str, str]]:
    """Operators whose number changed, the largest change first."""
    changed = [op for op in dict.fromkeys((*before, *after)) if before[op] != after[op]]
    changed.sort(key=lambda op: -abs(before[op] - after[op]))
    rows = [(op, f"{before[op]:,}", f"{after[op]:,}") for op in changed[:_OPS_SHOWN]]
    left = len(changed) - len(rows)
    return [*rows, (f"and {left} more", "", "")] if left else rows
