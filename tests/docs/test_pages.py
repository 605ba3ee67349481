"""What the documentation shows runs as it is written, and prints what it says."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import pytest
from typer.testing import CliRunner

from graphopt.cli import app
from graphopt.data import digits_model
from tests.docs.pages import ROOT, Block, blocks, pages

_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
_SHELL = re.compile(r"[|;&<>$`*]")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")
_ERROR = re.compile(r"^graphopt: (?!warning: )", re.MULTILINE)
_UNIT = re.compile(r"N (?:[num]?s|[kKMGT]?i?B|[kMGT])\b")


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages()])
def test_page_runs_as_written(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block of Python and commands of a page, from top to bottom."""
    shutil.copy(digits_model(), tmp_path / "model.onnx")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    module = types.ModuleType("page")  # classes look for the module that defines them
    monkeypatch.setitem(sys.modules, "page", module)
    namespace = vars(module)
    try:
        for block in blocks(page):
            if block.not_run:
                continue
            if block.file:
                target = tmp_path / block.file
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(block.text, encoding="utf-8")
            elif block.language == "python":
                run_python(block, namespace)
            elif block.language == "console":
                run_commands(block)
    finally:
        forget_modules(tmp_path)


def run_python(block: Block, namespace: dict[str, object]) -> None:
    """Execute a block; one with prompts is held to what it shows."""
    if ">>> " not in block.text:
        exec(compile("\n" * (block.line - 1) + block.text, str(block.page), "exec", dont_inherit=True), namespace)
        return
    test = doctest.DocTestParser().get_doctest(block.text, namespace, block.place, str(block.page), block.line - 1)
    out = io.StringIO()
    failed = doctest.DocTestRunner(optionflags=_FLAGS).run(test, out=out.write, clear_globs=False).failed
    namespace.update(test.globs)
    assert not failed, out.getvalue()


def run_commands(block: Block) -> None:
    """Run the commands of a block, and compare what they print; one that fails must be shown to fail, by an error or a remark."""
    for part in re.split(r"^\$ ", block.text.replace("\\\n", ""), flags=re.MULTILINE)[1:]:
        line, _, expected = part.partition("\n")
        command, _, remark = line.partition("  # ")
        code, printed = output_of(command)
        said = f"{block.place}: {command}\nexits with {code} and prints\n{printed}"
        assert code == (2 if _ERROR.search(expected) else int(remark.removeprefix("exit code ") or 0)), said
        if expected.strip():
            assert matches(normal(expected), normal(printed)), said


def output_of(command: str, *, inside: bool = True) -> tuple[int, str]:
    """Exit code of a command, and what it prints, errors too; graphopt's own run in this process if they can."""
    words = shlex.split(command)
    if words[:2] == ["pip", "install"]:
        return install(words[2:])
    if inside and words[0] == "graphopt" and not _SHELL.search(command):
        shown = CliRunner().invoke(app, words[1:], env={"COLUMNS": "120"})
        return shown.exit_code, shown.output
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([os.getcwd(), str(ROOT)]), "COLUMNS": "120"}
    environment.pop(
        "PYTHONDONTWRITEBYTECODE", None
    )  # pytest rewrites the asserts of each module that it has no bytecode of
    line = re.sub(r"\bgraphopt (?=[a-z-])", f"{shlex.quote(sys.executable)} -m graphopt ", command)
    line = re.sub(r"^python\b", shlex.quote(sys.executable), line)
    done = subprocess.run(line, shell=True, capture_output=True, text=True, env=environment, check=False)
    return done.returncode, done.stdout + done.stderr


def install(words: list[str]) -> tuple[int, str]:
    """What `pip install` does with a package of this folder, which is searched for modules: its modules and its entry points.

    pip itself takes seconds; what it makes of such packages is tested where they are written (`graphopt plugin new`) and kept (`plugins/`).
    """
    for folder in [Path(re.sub(r"\[.*\]$", "", word)) for word in words if not word.startswith("-")]:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        shutil.copytree(folder / "src", ".", dirs_exist_ok=True)
        about = Path(f"{project['name'].replace('-', '_')}-{project['version']}.dist-info")
        about.mkdir()
        head = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        (about / "METADATA").write_text(head, encoding="utf-8")
        lines = [
            line
            for group, entries in project["entry-points"].items()
            for line in (f"[{group}]", *(f"{name} = {target}" for name, target in entries.items()))
        ]
        (about / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    importlib.invalidate_caches()
    return 0, ""


def forget_modules(folder: Path) -> None:
    """Take out of this process what a page imported from its folder."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(f"{folder}{os.sep}"):
            del sys.modules[name]


def normal(text: str) -> list[str]:
    """Lines with numbers and their units replaced, spaces and empty lines removed."""
    lines = (_UNIT.sub("N", _NUMBER.sub("N", line)) for line in text.splitlines())
    return [" ".join(line.split()) for line in lines if line.strip()]


def matches(expected: list[str], printed: list[str]) -> bool:
    """Whether the lines agree; a line `...` stands for any number of lines, `...` in a line for any text."""
    if not expected:
        return not printed
    if expected[0] == "...":
        return any(matches(expected[1:], printed[start:]) for start in range(len(printed) + 1))
    if not printed:
        return False
    pattern = ".*".join(map(re.escape, expected[0].split("...")))
    return bool(re.fullmatch(pattern, printed[0])) and matches(expected[1:], printed[1:])


@pytest.mark.parametrize(
    ("expected", "printed", "agree"),
    [
        ("nodes 26", "nodes  27\n", True),
        ("size 1.2 MiB in 3 ms", "size 900 KiB in 2.5 us", True),
        ("a\n...\nz", "a\nb\nc\nz", True),
        ("a\n...\nz", "a\nb", False),
        ("saved to ...fast.onnx", "saved to /tmp/fast.onnx", True),
        ("nodes 26", "node 26", False),
        ("a", "a\nb", False),
    ],
)
def test_output_is_compared_without_numbers_and_cut_lines(expected: str, printed: str, *, agree: bool) -> None:
    """The comparison itself lets numbers pass and nothing else."""
    assert agree == matches(normal(expected), normal(printed))


def test_blocks_are_found_with_their_comments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fences, indented ones too; a comment counts for the block right under it."""
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\n```python\nx = 1\n```\n\n<!-- file: a/b.py -->\n```python\ny = 2\n```\n\n"
        "* item\n\n  ```console\n  $ true\n  ```\n\n<!-- not run: why -->\n\n```console\n$ false\n```\n",
        encoding="utf-8",
    )
    found = [(block.language, block.text, block.file, block.not_run, block.line) for block in blocks(page)]
    assert [
        ("python", "x = 1\n", "", "", 4),
        ("python", "y = 2\n", "a/b.py", "", 9),
        ("console", "$ true\n", "", "", 15),
        ("console", "$ false\n", "", "why", 21),
    ] == found


def test_a_block_that_fails_is_found(tmp_path: Path) -> None:
    """Wrong Python raises, a wrong doctest and a wrong output are told."""
    page = ROOT / "README.md"
    with pytest.raises(ZeroDivisionError):
        run_python(Block(page, 1, "python", "1 / 0\n"), {})
    with pytest.raises(AssertionError, match="Expected"), contextlib.redirect_stdout(io.StringIO()):
        run_python(Block(page, 1, "python", ">>> 1 + 1\n3\n"), {})
    for text in (
        "$ graphopt --version\nsomething else\n",
        "$ false\n",
        "$ true  # exit code 1\n",
        "$ graphopt inspect none.onnx\n...\n",
    ):
        with pytest.raises(AssertionError, match="prints"):
            run_commands(Block(page, 1, "console", text))
