"""The generated pages of the reference say all that there is."""

from __future__ import annotations

import importlib
import re

import pytest

from graphopt import hookspecs
from graphopt.builtin_plugin import builtin_plugins
from scripts.reference_pages import DESCRIBED, FACADES, module_page, passes_page, rules_page
from tests.docs.pages import ROOT
from tests.public_api import PUBLIC


def sections(page: str) -> dict[str, str]:
    """Text under each heading of the second level."""
    return dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", page, flags=re.MULTILINE | re.DOTALL))


def test_every_pass_has_its_options_and_levels() -> None:
    """A section each, with a row for each option."""
    found = sections(passes_page())
    rows = builtin_plugins(discover=False).describe("passes")
    assert [row["name"] for row in rows] == list(found)
    for row in rows:
        text, options = found[str(row["name"])], row["options"]
        assert isinstance(options, list)
        assert f"* Numerics: {row['numerics']}\n" in text
        assert [item["name"] for item in options] == re.findall(r"^\| <code>(\w+)</code> \|", text, flags=re.MULTILINE)
    assert "* Levels: O2, O3\n" in found["fuse-matmul-add"]
    assert "none" in found["prune-magnitude"]


def test_every_rule_has_its_pattern_and_pass() -> None:
    """Those of built-in passes, with links that lead to their sections."""
    found, passes = sections(rules_page()), sections(passes_page())
    rows = builtin_plugins(discover=False).describe("rules")
    assert {row["name"] for row in rows} == set(found)
    for row in rows:
        assert str(row["pattern"]) in found[str(row["name"])]
        assert f"passes.md#{row['pass']}" in found[str(row["name"])]
        assert f"rules.md#{row['name']}" in passes[str(row["pass"])]


@pytest.mark.parametrize("name", FACADES)
def test_every_public_name_is_described_once(name: str) -> None:
    """On the page of its module, or by a link to the page that has it."""
    page = module_page(name)
    here = set(re.findall(rf"^::: {re.escape(name)}\.(\w+)$", page, flags=re.MULTILINE))
    there = dict(re.findall(r"^\| \[`(\w+)`\]\[(.+?)\]", page, flags=re.MULTILINE))
    assert not here & set(there)
    public = {item for item in importlib.import_module(name).__all__ if not item.startswith("__")}
    assert public == here | set(there)
    for target in there.values():
        home, _, item = target.rpartition(".")
        assert f"::: {home}.{item}" in module_page(home) or home in DESCRIBED


def test_every_public_module_has_a_page() -> None:
    """The command line has one too, which is not about Python."""
    assert set(PUBLIC) == {*FACADES, *DESCRIBED, "graphopt.cli"}


def test_what_each_hook_returns_is_described() -> None:
    """Those that return something, in the table of their page."""
    page = (ROOT / "docs" / "reference" / "hooks.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `(graphopt_\w+)` \|", page, flags=re.MULTILINE)
    hooks = [name for name in vars(hookspecs) if name.startswith("graphopt_")]
    returning = [name for name in hooks if getattr(hookspecs, name).__annotations__["return"] != "None"]
    assert returning == sorted(told, key=hooks.index)
