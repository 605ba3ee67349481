"""What is different between two models, as tables for the terminal and as plain values for machines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields

from rich.console import Group, RenderableType
from rich.text import Text

from graphopt.analysis.model_diff import ModelDiff, NodeChange, NodeGroup, NodeRef
from graphopt.report.layout import columns, printable
from graphopt.report.units import bytes_text, counted

__all__ = ["diff_document", "diff_view"]

_SHOWN = 20
_NAMES = 6


def diff_document(diff: ModelDiff) -> dict[str, object]:
    """All of a difference, for JSON."""
    return {"different": not diff.is_empty, **{item.name: getattr(diff, item.name) for item in fields(diff)}}


def diff_view(diff: ModelDiff, *, everything: bool = False) -> RenderableType:
    """What is different, grouped: a line, counts by operator, then each node.

    Args:
        diff: of the two models.
        everything: whether to list all nodes instead of the first of each kind.
    """
    if diff.is_empty:
        return Text(f"no differences in {counted(diff.same, 'node')}", style="green")
    parts: list[RenderableType] = [Text(_summary(diff))]
    facts = [
        *diff.interface,
        *(f"opset {text}" for text in diff.opsets),
        *(f"function {text}" for text in diff.functions),
    ]
    parts += [Text(printable(line)) for line in facts]
    rows = _operator_rows(diff)
    if rows:
        parts += ["", columns(("operator", "before>", "after>", "removed>", "added>", "changed>"), rows)]
    shown = _Lists(None if everything else _SHOWN)
    shown.add("fused, split or rewritten", [_group_line(group) for group in diff.groups])
    shown.add("changed", [_change_line(pair) for pair in diff.changed])
    shown.add("removed", [_node_line(node) for node in diff.removed])
    shown.add("added", [_node_line(node) for node in diff.added])
    shown.add("renamed", [f"{pair.before} -> {pair.after.name}" for pair in diff.renamed])
    shown.add("initializers", [str(change).removeprefix("constant ") for change in diff.initializer_changes])
    return Group(*parts, *shown.parts)


def _summary(diff: ModelDiff) -> str:
    counts = {
        "the same": diff.same,
        "renamed": len(diff.renamed),
        "changed": len(diff.changed),
        f"{'group' if len(diff.groups) == 1 else 'groups'} fused, split or rewritten": len(diff.groups),
        "removed": len(diff.removed),
        "added": len(diff.added),
    }
    said = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    weights = diff.initializers
    sizes = f"{bytes_text(weights.bytes_before)} -> {bytes_text(weights.bytes_after)}"
    return f"nodes: {said or 'none'}; weights: {weights.before:,} -> {weights.after:,}, {sizes}"


def _operator_rows(diff: ModelDiff) -> list[list[str]]:
    """A row for each operator to which something happened."""
    return [
        [
            op,
            *(
                f"{count:,}" if count else ""
                for count in (found.before, found.after, found.removed, found.added, found.changed)
            ),
        ]
        for op, found in diff.operators.items()
        if found.removed or found.added or found.changed
    ]


class _Lists:
    """Lists under heads, each cut to a number of lines."""

    def __init__(self, most: int | None) -> None:
        self.parts: list[RenderableType] = []
        self._most = most

    def add(self, head: str, lines: Sequence[str]) -> None:
        if not lines:
            return
        shown = lines if self._most is None else lines[: self._most]
        self.parts += ["", Text(f"{head}:", style="bold")]
        self.parts += [Text(printable(f"  {line}")) for line in shown]
        if len(shown) < len(lines):
            self.parts.append(Text(f"  and {len(lines) - len(shown):,} more; --all shows them"))


def _node_line(node: NodeRef) -> str:
    return f"{node}{f': {node.note}' if node.note else ''}"


def _change_line(pair: NodeChange) -> str:
    renamed = f" -> {pair.after.name}" if pair.after.name != pair.before.name else ""
    return f"{pair.before}{renamed}: {'; '.join(map(str, pair.changes))}"


def _group_line(group: NodeGroup) -> str:
    return f"{_names(group.before)} -> {_names(group.after)}"


def _names(nodes: Iterable[NodeRef]) -> str:
    texts = [str(node) for node in nodes]
    more = f" and {len(texts) - _NAMES} more" if len(texts) > _NAMES else ""
    return " + ".join(texts[:_NAMES]) + more
