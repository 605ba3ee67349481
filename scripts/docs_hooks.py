"""What mkdocs asks while it builds the documentation: generated pages, their place in the navigation, names of files over their text.

Warnings of this module fail the build, as all do.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # mkdocs runs this file by its path

from scripts import reference_pages  # noqa: E402 - found only now

logger = logging.getLogger("mkdocs.hooks.graphopt")

_FILE = re.compile(r"^( *)<!-- file: (.+?) -->\n+( *```[\w-]+)$", re.MULTILINE)
_OPTIONS = re.compile(r"^<!-- options: ([\w ]+) -->$", re.MULTILINE)
_FETCHED = re.compile(r"""<(?:script|img|iframe|source|link)\b[^>]*?(?:src|href)=["']?((?:https?:)?//[^"'\s>]+)""")


def generated() -> dict[str, str]:
    """Pages made from the program, by path."""
    pages = {f"reference/api/{name}.md": reference_pages.module_page(name) for name in reference_pages.FACADES}
    return pages | {
        "reference/passes.md": reference_pages.passes_page(),
        "reference/rules.md": reference_pages.rules_page(),
    }


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put pages that the navigation does not name at the end of the section of their folder."""
    for section in config.nav or ():
        for entries in section.values():
            if isinstance(entries, list):
                _complete(entries, Path(config.docs_dir))
    return config


def _complete(entries: list[Any], docs: Path) -> None:
    """Add the pages of the folder that the first page of a section is in, and the modules to where they belong."""
    named = list(_named(entries))
    folder = Path(named[0]).parent
    entries += sorted(
        path for path in (str(page.relative_to(docs)) for page in (docs / folder).glob("*.md")) if path not in named
    )
    for entry in entries:
        if isinstance(entry, dict) and "Python" in entry:
            entry["Python"] = [f"reference/api/{name}.md" for name in reference_pages.FACADES]


def _named(entries: Iterable[Any]) -> Iterator[str]:
    """Pages of a section, those of groups in it too."""
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            for inner in entry.values():
                yield from _named([inner] if isinstance(inner, str) else inner)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for path, text in generated().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Write tables of options where a page asks for them, and the names of files over what they hold."""
    markdown = _OPTIONS.sub(lambda found: reference_pages.command_tables(found[1]), markdown)
    return _FILE.sub(r'\1\3 title="\2"', markdown)


def on_post_page(output: str, page: Page, **_: object) -> str:
    """Warn of anything that a reader's browser would fetch from the network."""
    for address in _FETCHED.findall(output):
        logger.warning("%s: the page fetches %s; keep it in the documentation", page.file.src_uri, address)
    return output
