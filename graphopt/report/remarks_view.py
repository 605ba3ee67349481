"""Rewrites made and missed, and where one rule stopped, as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from graphopt.report.layout import columns, printable
from graphopt.report.units import counted

if TYPE_CHECKING:
    from graphopt.compiler.explaining import Refusal
    from graphopt.compiler.remarks import MissedRewrite
    from graphopt.rewriting import Edit

__all__ = ["made_table", "missed_table", "refusal_table"]

_SHOWN = 40
_NAMES = 4


def made_table(edits: Sequence[Edit]) -> RenderableType:
    """What was applied, in order."""
    rows = [
        (
            str(edit.application.number),
            edit.application.pass_name,
            edit.application.rule,
            edit.application.site,
            f"-{len(edit.removed)} +{len(edit.added)}",
            _listed(edit.origins),
        )
        for edit in edits
    ]
    title = Text(f"{counted(len(edits), 'rewrite')} made", style="bold")
    heads = ("number>", "pass", "rule", "at", "nodes>", "original nodes")
    return Group("", title, columns(heads, rows)) if rows else Group("", title)


def missed_table(missed: Sequence[MissedRewrite]) -> RenderableType:
    """What was not applied, the most frequent reasons first."""
    rows = [
        (item.rule, f"{item.count:,}", item.reason, f"{item.examples[0][0]}: {item.examples[0][1]}")
        for item in missed[:_SHOWN]
    ]
    parts: list[RenderableType] = [
        "",
        Text(f"{counted(len(missed), 'kind of rewrite', 'kinds of rewrites')} missed", style="bold"),
    ]
    if rows:
        parts.append(columns(("rule", "nodes>", "why not", "such as"), rows))
    if len(missed) > _SHOWN:
        parts.append(Text(f"and {counted(len(missed) - _SHOWN, 'kind')} more; all of them with --json"))
    return Group(*parts)


def refusal_table(
    rule: str, pattern: str, refusals: Sequence[Refusal], *, applied: int, dropped: int = 0, hint: str = ""
) -> RenderableType:
    """Where a rule did not apply, and why.

    Args:
        rule: the rule.
        pattern: what it looks for.
        refusals: candidates, each with the last reason: a rule that applied is tried there again.
        applied: how often it did apply.
        dropped: how many more candidates there were.
        hint: why there were none.
    """
    parts: list[RenderableType] = [
        "",
        Text(f"{rule} applied {counted(applied, 'time')}"),
        Text(printable(f"looks for {pattern}")),
    ]
    if refusals:
        rows = [(found.node, found.op, found.where, found.part, found.reason) for found in refusals]
        parts.append(columns(("node", "operator", "stopped at", "which must be", "why not (again)"), rows))
    if dropped:
        parts.append(Text(f"and {dropped:,} more"))
    if hint:
        parts.append(Text(printable(hint)))
    return Group(*parts)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMES]) + (f" and {len(names) - _NAMES} more" if len(names) > _NAMES else "")
