"""The reference of the command line has each command with every option that there is."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer

from graphopt.cli import app
from graphopt.cli.group import COMMANDS
from scripts.reference_pages import command_tables
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "reference" / "command-line.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL))


def options_of(name: str) -> set[str]:
    """Options of a command, long and short; help and shell completion apart."""
    group: Any = typer.main.get_command(app)
    context = group.get_command(None, name).make_context(name, ["x"] * 2, resilient_parsing=True)
    commands = [context.command, *getattr(context.command, "commands", {}).values()]
    found = {option for each in commands for item in each.params for option in (*item.opts, *item.secondary_opts)}
    return {option for option in found if option.startswith("-")}


@pytest.mark.parametrize("name", COMMANDS)
def test_options_are_described(name: str) -> None:
    """The table that the page gets when it is built has every option, with a meaning."""
    rows = re.findall(r"^\| (.*<code>-.*) \| (.*) \|$", command_tables(name), flags=re.MULTILINE)
    described = {option for spelling, _ in rows for option in re.findall(r"<code>(-[^<]+)</code>", spelling)}
    assert options_of(name) == described
    assert all(meaning for _, meaning in rows)


def test_every_command_has_a_section() -> None:
    """In the page as in the program, with what it does in words and the place of its tables."""
    assert set(COMMANDS) == set(SECTIONS)
    for name, text in SECTIONS.items():
        assert text.strip().startswith(f"`graphopt {name}"), name
        assert f"\n<!-- options: {name} -->\n" in text, f"write <!-- options: {name} --> where the options belong"
