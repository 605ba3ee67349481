"""Rows of ``graphopt list`` as tables for the terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from graphopt.report.layout import columns, facts

__all__ = ["listing_view"]

Row = Mapping[str, object]

_LONGEST = 100
_MARKUP = re.compile(r"(?::\w+:)?`+~?([^`]*)`+")

#: Head and field of each column, by what is listed.
_COLUMNS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "passes": (("pass", "name"), ("numerics", "numerics"), ("options", "options"), ("what it does", "doc")),
    "rules": (("rule", "name"), ("pass", "pass"), ("numerics", "numerics"), ("pattern", "pattern")),
    "pipelines": (("pipeline", "name"), ("numerics", "numerics"), ("passes", "text")),
    "frontends": (("frontend", "name"), ("what it reads", "doc")),
    "backends": (("backend", "name"), ("runs", "runs"), ("what it is", "doc")),
    "targets": (
        ("target", "name"),
        ("backend", "backend"),
        ("opset", "opset"),
        ("raised to", "preferred_opset"),
        ("kernels", "kernels"),
        ("domains", "domains"),
        ("what it is", "doc"),
    ),
    "calibrators": (("calibrator", "name"), ("what it does", "doc")),
    "operators": (("operator", "name"), ("since", "since"), ("what it computes", "doc")),
    "plugins": (
        ("plugin", "name"),
        ("package", "package"),
        ("API", "api_version"),
        ("status", "status"),
        ("implements", "hooks"),
    ),
}


def listing_view(kind: str, rows: Sequence[Row]) -> RenderableType:
    """What there is of a kind, as a table; hooks as paragraphs.

    Args:
        kind: what is listed.
        rows: from :meth:`graphopt.plugin_manager.PluginManager.describe`.
    """
    if not rows:
        return Text(f"no {kind}")
    if kind == "hooks":
        return Group(*(part for row in rows for part in (_hook(row), "")))
    wanted = _COLUMNS[kind]
    owners = {str(row.get("owner", "")) for row in rows} - {"", "builtin"}
    if owners:  # who brings it matters only when somebody else than graphopt does
        wanted = (*wanted[:1], ("owner", "owner"), *wanted[1:])
    table = [[_cell(row, field) for _, field in wanted] for row in rows]
    return columns([head for head, _ in wanted], table)


def _cell(row: Row, field: str) -> str:
    if field in ("doc", "text", "pattern", "status"):
        problem = row.get("missing") or row.get("error") or row.get("reason")
        if problem:
            return f"{row[field]}: {problem}" if field == "status" else f"not available: {problem}"
    value = row.get(field)
    if field == "doc" and row.get("unavailable"):
        value = f"{value} It does not run here: {row['unavailable']}"
    if field == "kernels":
        return "" if not isinstance(value, list) else str(len(value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if field == "options" and isinstance(value, list):
        return ", ".join(
            f"{item['name']}={item['default']}" if item["default"] is not None else item["name"] for item in value
        )
    if isinstance(value, list):
        return ", ".join(map(str, value))
    text = "" if value is None else _MARKUP.sub(r"\1", str(value))
    return text if field != "pattern" or len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _hook(row: Row) -> RenderableType:
    arguments, plugins = row["arguments"], row["plugins"]
    assert isinstance(arguments, list)
    parts = {"when": _cell(row, "when"), "returns": _cell(row, "returns"), "who": _cell(row, "who")}
    if arguments:
        parts = {"arguments": _cell(row, "args") or ", ".join(arguments)} | parts
    if plugins:
        parts["plugins"] = _cell(row, "plugins")
    head = Text(f"{row['name']}({', '.join(arguments)})", style="bold")
    return Group(head, Text(_cell(row, "doc")), facts(parts))
