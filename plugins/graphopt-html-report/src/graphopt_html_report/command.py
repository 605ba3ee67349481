"""``graphopt html-report``: the page of a report that ``graphopt optimize --json`` wrote."""

import json
from pathlib import Path
from typing import Annotated

import typer

from graphopt.errors import GraphoptError
from graphopt_html_report.page import page_of, write_page

__all__ = ["html_report"]


def html_report(
    report: Annotated[Path, typer.Argument(metavar="REPORT.json", help="What graphopt optimize --json wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="PAGE.html", help="Where to write the page.")],
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace a file that is there.")] = False,
) -> None:
    """Write the report of an optimization as one HTML page."""
    try:
        page = page_of(json.loads(report.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        what = f"{type(err).__name__}: {err}"
        raise GraphoptError(
            f"{str(report)!r} is no report of an optimization ({what:.200}); write one with graphopt optimize --json"
        ) from err
    write_page(output, page, replace=force)
    typer.echo(f"written to {output}")
