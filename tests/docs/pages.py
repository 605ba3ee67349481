"""The code in a Markdown page: blocks of Python and of commands, and files that the page shows.

A page runs from top to bottom in one folder, which holds `model.onnx` (the digits classifier) at the start:

* ```` ```python ```` blocks share one namespace; a block with `>>>` is checked as a doctest;
* ```` ```console ```` blocks: each line after `$ ` is run, the lines under it are what it must print, numbers and lines that are cut
  (`...`) apart; one that ends otherwise than with 0 says so, `  # exit code 1`, or shows an error of graphopt, whose exit code is 2;
* a block after the comment `<!-- file: NAME -->` is written to that file;
* a block after `<!-- not run: REASON -->` is left alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ROOT", "Block", "blocks", "pages"]

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*) *$")
_COMMENT = re.compile(r"^ *<!-- (?P<what>file|not run): (?P<text>.+?) -->$")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: where it is.
        line: its first line, from 1.
        language: what stands behind the fence.
        text: what is inside.
        file: name that it is written to, or ``""``.
        not_run: why it is left alone, or ``""``.
    """

    page: Path
    line: int
    language: str
    text: str
    file: str = ""
    not_run: str = ""

    @property
    def place(self) -> str:
        """File and line, for messages."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """The README and all pages of the documentation."""
    return [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found: list[Block] = []
    said: dict[str, str] = {}
    lines = page.read_text(encoding="utf-8").splitlines()
    index = 0
    while index < len(lines):
        comment, fence = _COMMENT.match(lines[index]), _FENCE.match(lines[index])
        if comment:
            said = {comment["what"]: comment["text"]}
        elif fence and fence["language"]:
            end = next(at for at in range(index + 1, len(lines)) if lines[at] == fence["indent"] + "```")
            text = "\n".join(line.removeprefix(fence["indent"]) for line in lines[index + 1 : end]) + "\n"
            found.append(Block(page, index + 2, fence["language"], text, said.get("file", ""), said.get("not run", "")))
            said, index = {}, end
        elif lines[index].strip():
            said = {}
        index += 1
    return found
