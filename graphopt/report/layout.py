"""The two kinds of tables that all reports are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.table import Table
from rich.text import Text

__all__ = ["columns", "facts"]


def facts(rows: Mapping[str, str]) -> Table:
    """Names and what they are, a line each."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows.items():
        table.add_row(Text(name), Text(text))
    return table


def columns(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Rows under heads; a head that ends with ``>`` stands over right-aligned numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for head in heads:
        right = head.endswith(">")
        table.add_column(
            Text(head.removesuffix(">")), justify="right" if right else "left", no_wrap=right, overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
