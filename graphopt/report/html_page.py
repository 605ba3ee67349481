"""What all pages share: the frame of a page that loads nothing from anywhere, text that is safe in it, tables that a click sorts."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Final

from graphopt.report.layout import printable
from graphopt.report.sorted_tables import SORTING

__all__ = ["escaped", "html_page", "sorted_table"]

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8886; --blue: #2a78c8; --red: #c8322a; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1200px; margin: 2rem auto; padding: 0 1rem; }
svg text { font-size: 11px; fill: currentColor; }
table { border-collapse: collapse; width: 100%; font-size: 13px; margin-bottom: 2rem; }
th, td { text-align: left; padding: .15rem .6rem .15rem 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
th button { font: inherit; font-weight: bold; background: none; border: 0; padding: 0; color: inherit; cursor: pointer; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1.5rem; } dt { font-weight: bold; } dd { margin: 0; }
"""


def escaped(text: str) -> str:
    """Text as it may stand in a page, in attributes too; names in a model are anybody's.

    Example:
        >>> escaped('<b a="1">')
        '&lt;b a=&quot;1&quot;&gt;'
    """
    return html.escape(printable(text), quote=True)


def html_page(title: str, parts: Iterable[str], *, style: str = "") -> str:
    """A whole page.

    Args:
        title: of the page, as text.
        parts: of its body, as HTML; empty ones are left out.
        style: CSS behind the common one.
    """
    head = escaped(title)
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    lines = [
        "<!doctype html>",
        '<html lang="en">',
        f'<head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">',
        f"<title>{head}</title><style>{_STYLE}{style}</style></head>",
        f"<body><h1>{head}</h1>",
        *(part for part in parts if part),
        f"<script>{SORTING}</script></body></html>",
    ]
    return "\n".join(lines) + "\n"


def sorted_table(heads: Sequence[str], rows: Iterable[str]) -> str:
    """A table that is sorted by a click on a head.

    Args:
        heads: as text; one that ends with ``>`` stands over numbers.
        rows: as HTML.

    Example:
        >>> sorted_table(["a>"], []).splitlines()[0]
        '<table><thead><tr><th class=number><button>a</button></th></tr></thead><tbody>'
    """
    cells = "".join(
        f"<th{' class=number' if head.endswith('>') else ''}><button>{escaped(head.removesuffix('>'))}</button></th>"
        for head in heads
    )
    return f"<table><thead><tr>{cells}</tr></thead><tbody>\n{chr(10).join(rows)}\n</tbody></table>"
