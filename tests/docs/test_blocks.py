"""Blocks that tests leave alone are few, have a reason each, and nothing else escapes."""

from __future__ import annotations

import re
from collections import Counter
from urllib.parse import urlsplit

import pytest

from scripts.reference_pages import FACADES
from tests.docs.pages import ROOT, blocks, pages

#: How many blocks of a page are not run, and why.
NOT_RUN = {
    ("README.md", "the whole test suite would run inside itself"): 1,
    (
        "docs/how-to/reduce-a-model.md",
        "no pass of graphopt fails on this model; README.md runs it with one that does",
    ): 1,
    (
        "docs/how-to/optimize-a-fleet.md",
        "needs a scheduler and a worker, which tests/compiler/test_dask.py starts",
    ): 1,
    ("docs/how-to/write-a-backend.md", "the plugin is not installed here"): 1,
    ("docs/how-to/build-a-tensorrt-engine.md", "needs a TensorRT library"): 7,
    ("docs/how-to/build-a-tensorrt-engine.md", "needs a TensorRT library and a GPU"): 1,
    ("docs/how-to/run-tensorrt-engines.md", "needs a GPU"): 2,
    ("docs/how-to/run-tensorrt-engines.md", "needs a TensorRT library"): 2,
    ("docs/how-to/prune.md", "torch is no part of graphopt's environment"): 1,
}
#: Languages of blocks that are run; `text` is what shows no code.
LANGUAGES = {"python", "console", "text"}

ALL = [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages()]
_LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)|<(https?://[^>\s]+)>")


def test_blocks_that_are_not_run_are_counted() -> None:
    """A new one is a decision, made here."""
    found = Counter((str(page.relative_to(ROOT)), block.not_run) for page in pages() for block in blocks(page))
    assert NOT_RUN == {key: count for key, count in found.items() if key[1]}


@pytest.mark.parametrize("page", ALL)
def test_every_block_is_run_written_or_says_why_not(page) -> None:
    """Code in another language is a file that later blocks use."""
    for block in blocks(page):
        assert block.language in LANGUAGES or block.file or block.not_run, f"{block.place}: ```{block.language}"
    fences = [line for line in page.read_text(encoding="utf-8").splitlines() if re.match(r" *```[^`]+$", line)]
    assert len(fences) == len(blocks(page)), "a fence states more than a language, so that its block is not found"


@pytest.mark.parametrize("page", ALL)
def test_links_lead_somewhere(page) -> None:
    """Files are there (anchors are checked when the documentation is built); addresses are well formed, they are not fetched."""
    text = re.sub(r"^ *```.*?^ *```$|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for found in _LINK.findall(text):
        link = urlsplit(found[0] or found[1])
        if link.scheme:
            assert link.scheme in {"https", "mailto"}, found
            assert link.scheme == "mailto" or re.fullmatch(r"[\w-]+(\.[\w-]+)+", link.netloc), found
        elif link.path:
            target = (page.parent / link.path).resolve()
            assert target.is_file() or _is_generated(target), found


def _is_generated(target) -> bool:
    """Pages that are made when the documentation is built, which checks the links to them."""
    reference = ROOT / "docs" / "reference"
    return target in {reference / "passes.md", reference / "rules.md"} or (
        target.parent == reference / "api" and target.stem in FACADES
    )
