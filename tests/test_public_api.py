"""The public API is what was written down, and nothing looks public that is not."""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
import pkgutil
import types
from pathlib import Path

import pytest

import graphopt
from tests.public_api import INTERNAL, PUBLIC, SNAPSHOT, api_lines, public_names

ROOT = Path(graphopt.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))


def change_of_api(snapshot: Path) -> str:
    """What is different from a snapshot, and what to do; nothing when all is the same."""
    expected = snapshot.read_text(encoding="utf-8").splitlines()
    change = "\n".join(difflib.unified_diff(expected, list(api_lines()), snapshot.name, "now", lineterm="", n=0))
    hint = (
        "If that is meant: run python -m tests.public_api --update, add a fragment to changelog.d, and where something went or takes "
        "less, follow docs/explanation/stability.md: deprecate it first."
    )
    return f"the public API has changed:\n{change}\n\n{hint}" if change else ""


def test_the_public_api_is_the_committed_one() -> None:
    """A change is made on purpose, and told to users."""
    found = change_of_api(SNAPSHOT)
    if found:
        pytest.fail(found, pytrace=False)


def test_a_change_is_shown_with_what_to_do(tmp_path: Path) -> None:
    """A name that went and an argument that is new stand there as lines."""
    text = SNAPSHOT.read_text(encoding="utf-8")
    gone = "graphopt.errors.gone() -> None"
    edited = text.replace("# graphopt.errors\n", f"# graphopt.errors\n{gone}\n").replace(
        "graphopt.lift =", "graphopt.raise ="
    )
    (tmp_path / "kept.txt").write_text(edited, encoding="utf-8")
    found = change_of_api(tmp_path / "kept.txt").splitlines()
    assert {f"-{gone}", "-graphopt.raise = graphopt.compiler.lift", "+graphopt.lift = graphopt.compiler.lift"} <= set(
        found
    )
    assert "python -m tests.public_api --update" in found[-1]


def test_every_module_is_public_or_internal() -> None:
    """A new module right under graphopt is decided on, not overlooked."""
    found = {f"graphopt.{item.name}" for item in pkgutil.iter_modules([str(ROOT)])}
    assert found == {*PUBLIC, *INTERNAL} - {"graphopt"}


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_are_there_and_described(module: str) -> None:
    """Each name in ``__all__`` exists, has no underscore, and a docstring where it can have one."""
    for name, item in public_names(module).items():
        assert name == "__version__" or not name.startswith("_")
        if isinstance(item, type | types.FunctionType) and item.__module__.startswith("graphopt"):
            assert inspect.getdoc(item), f"{module}.{name} has no docstring"


def names_of(path: Path) -> set[str]:
    """What a module defines without an underscore at its top: functions, classes, constants."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return {name for name in found if not name.startswith("_")} - {"logger"}


@pytest.mark.parametrize("module", PUBLIC)
def test_nothing_looks_public_by_accident(module: str) -> None:
    """What a public module defines is in ``__all__``, begins with an underscore, or is a hook that graphopt implements."""
    found = importlib.import_module(module)
    defined = names_of(Path(found.__file__ or ""))
    hooks = {name for name in defined if hasattr(getattr(found, name, None), "graphopt_impl")}
    assert set() == defined - set(found.__all__) - hooks


def test_every_module_says_what_others_may_use() -> None:
    """Inside the package too: ``__all__`` of a module is what its neighbours import."""
    silent = [path for path in MODULES if names_of(path) and "__all__" not in path.read_text(encoding="utf-8")]
    assert [] == silent


def test_names_are_fetched_when_somebody_asks() -> None:
    """``dir`` has them all; one that is not there is an error as usual."""
    assert set(graphopt.__all__) <= set(dir(graphopt))
    with pytest.raises(AttributeError, match="module 'graphopt' has no attribute 'optimise'"):
        _ = graphopt.optimise
