"""Writes what commands really print into a page: `python -m tests.docs.refresh docs/tutorials/first-model.md`.

The page runs from top to bottom as in the test. Blocks in which lines are cut (`...`) keep what they show.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import types
from pathlib import Path

from graphopt.data import digits_model
from tests.docs.pages import Block, blocks
from tests.docs.test_pages import output_of, run_python


def refreshed(block: Block) -> str:
    """The text of a block of commands with what these print now."""
    written = []
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        _, printed = output_of(command.split("  # ")[0], inside=False)
        shown = "\n".join(line.rstrip() for line in printed.strip("\n").splitlines())
        cut = "..." in [line.strip() for line in expected.splitlines()]
        written.append(f"$ {command}\n" + (expected if cut or not expected.strip() else f"{shown}\n"))
    return "".join(written)


def refresh(page: Path) -> None:
    """Run a page and write it again."""
    module = types.ModuleType("page")
    sys.modules["page"] = module
    text = page.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(digits_model(), Path(folder, "model.onnx"))
        os.chdir(folder)
        for block in blocks(page):
            if block.file and not block.not_run:
                Path(block.file).parent.mkdir(parents=True, exist_ok=True)
                Path(block.file).write_text(block.text, encoding="utf-8")
            elif block.language == "python" and not block.not_run:
                run_python(block, vars(module))
            elif block.language == "console" and not block.not_run:
                text = text.replace(block.text, refreshed(block), 1)
        os.chdir("/")
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    for page in [Path(name).resolve() for name in sys.argv[1:]]:
        refresh(page)
