"""The two kinds of tables that all reports are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from rich.table import Table
from rich.text import Text

__all__ = ["columns", "facts", "printable"]

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """A text without characters that steer a terminal; names in a model are anybody's.

    Example:
        >>> print(printable("y" + chr(27) + "[31m").replace(chr(92), "/"))
        y/x1b[31m
    """
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def facts(rows: Mapping[str, str]) -> Table:
    """Names and what they are, a line each."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows.items():
        table.add_row(Text(printable(name)), Text(printable(text)))
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
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table
