"""The reference of the command line names every option that there is, and no other."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer

from graphopt.cli import app
from graphopt.cli.group import COMMANDS
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "reference" / "command-line.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL))


def options_of(name: str) -> set[str]:
    """Options of a command, long and short; help and shell completion apart."""
    group: Any = typer.main.get_command(app)
    context = group.get_command(None, name).make_context(name, ["x"] * 2, resilient_parsing=True)
    found = {option for item in context.command.params for option in (*item.opts, *item.secondary_opts)}
    return {option for option in found if option.startswith("-")}


@pytest.mark.parametrize("name", COMMANDS)
def test_options_are_described(name: str) -> None:
    """The table of each command has its options."""
    described = {
        option
        for row in re.findall(r"^\| (`-.*?) \|", SECTIONS[name], flags=re.MULTILINE)
        for option in re.findall(r"`(-[^`]+)`", row)
    }
    assert options_of(name) == described


def test_every_command_has_a_section() -> None:
    """In the page as in the program."""
    assert set(COMMANDS) == set(SECTIONS)
