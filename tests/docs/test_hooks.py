"""What the build of the documentation adds to pages, and what it refuses."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from mkdocs.config.defaults import MkDocsConfig

from scripts import docs_hooks
from scripts.docstring_syntax import markdown_of
from scripts.reference_pages import FACADES
from tests.docs.pages import ROOT

PAGE: Any = SimpleNamespace(file=SimpleNamespace(src_uri="a.md"))


def test_files_are_named_over_their_text() -> None:
    """In the form of the highlighter, indented blocks too."""
    text = "<!-- file: a/b.toml -->\n```toml\nx = 1\n```\n\n```python\nx = 1\n```\n"
    assert '```toml title="a/b.toml"\nx = 1\n```\n\n```python\nx = 1\n```\n' == docs_hooks.on_page_markdown(
        text, page=PAGE
    )


def test_options_are_put_where_they_are_asked_for() -> None:
    """The comment gives way to the tables."""
    text = docs_hooks.on_page_markdown("Before.\n\n<!-- options: list -->\n\nAfter.\n", page=PAGE)
    assert text.startswith("Before.\n\n| argument | meaning |\n")
    assert "<code>--no-plugin</code> <code>NAME</code>" in text
    assert text.endswith("\n\nAfter.\n")


def test_pages_that_the_navigation_does_not_name_are_added() -> None:
    """At the end of the section of their folder, once; those that a group in it names are there already."""
    config = MkDocsConfig()
    config.docs_dir = str(ROOT / "docs")
    group = {"First": ["decisions/0001-record-decisions.md"]}
    config.nav = [{"Home": "index.md"}, {"Decisions": ["decisions/index.md", group, {"Python": []}]}]
    nav = docs_hooks.on_config(config).nav
    assert nav is not None
    entries = nav[1]["Decisions"]
    assert ["decisions/index.md", group, {"Python": [f"reference/api/{name}.md" for name in FACADES]}] == entries[:3]
    assert sorted((ROOT / "docs" / "decisions").glob("0*.md"))[1:] == [ROOT / "docs" / entry for entry in entries[3:]]


@pytest.mark.parametrize(
    ("html", "fetched"),
    [
        ('<script src="https://unpkg.com/x"></script>', True),
        ('<link rel="stylesheet" href="//fonts.example.org/a.css">', True),
        ("<img alt=x src=https://example.org/a.png>", True),
        ('<script src="assets/a.js"></script><a href="https://example.org">elsewhere</a>', False),
    ],
)
def test_pages_that_fetch_something_are_refused(html: str, *, fetched: bool, caplog: pytest.LogCaptureFixture) -> None:
    """A warning fails the build; a link that a reader follows is none of that."""
    with caplog.at_level(logging.WARNING):
        assert html == docs_hooks.on_post_page(html, page=PAGE)
    assert fetched == ("a.md: the page fetches" in caplog.text)


def test_docstrings_read_as_markdown() -> None:
    """Roles become code, one example becomes a list of one."""
    assert "`Lazy` and `graphopt.ir.Graph`" == markdown_of(":class:`Lazy` and :func:`~graphopt.ir.Graph`")
    assert "It.\n\n```text\na   b\nc   d\n```\n" == markdown_of("It.\n\n==  ==\na   b\nc   d\n==  ==\n")
    assert "It.\n\n    Examples:\n        >>> 1\n" == markdown_of("It.\n\n    Example:\n        >>> 1\n")
