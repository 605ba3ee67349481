"""``graphopt list`` shows what there is."""

from __future__ import annotations

import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from graphopt.cli import app
from graphopt.plugin_manager import KINDS
from graphopt.report.listing_view import listing_view

runner = CliRunner(env={"COLUMNS": "160"})


@pytest.mark.parametrize("kind", KINDS)
def test_tables_show_every_name(kind: str) -> None:
    """What machines are given by name, people see by name."""
    rows = json.loads(runner.invoke(app, ["list", kind, "--json"]).stdout)
    shown = runner.invoke(app, ["list", kind])
    assert 0 == shown.exit_code
    assert all(row["name"] in shown.stdout for row in rows)
    assert rows or f"no {kind}\n" == shown.stdout


def test_passes_have_numerics_options_and_owner() -> None:
    """A pass states what it does to numbers, its options with type and default, and who brought it."""
    rows = {row["name"]: row for row in json.loads(runner.invoke(app, ["list", "passes", "--json"]).stdout)}
    row = rows["deduplicate-constants"]
    assert ("exact", "builtin") == (row["numerics"], row["owner"])
    assert ["min_outer_bytes"] == [option["name"] for option in row["options"]]


def test_unknown_kind_is_one_line() -> None:
    """With a suggestion."""
    shown = runner.invoke(app, ["list", "pases"])
    assert 2 == shown.exit_code
    assert "did you mean 'passes'?" in shown.stderr


def test_what_is_not_available_says_why() -> None:
    """A backend whose package is missing, a plugin that failed."""
    rows = [{"name": "trt", "owner": "vendor", "missing": "tensorrt is not installed; pip install tensorrt"}]
    plain = Console(width=200)
    with plain.capture() as written:
        plain.print(listing_view("backends", rows))
        plain.print(
            listing_view(
                "plugins",
                [{"name": "bad", "package": "bad 1.0", "status": "failed", "reason": "ImportError: no", "hooks": []}],
            )
        )
    assert "not available: tensorrt is not installed; pip install tensorrt" in written.get()
    assert "vendor" in written.get()
    assert "failed: ImportError: no" in written.get()
