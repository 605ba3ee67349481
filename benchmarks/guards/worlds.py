"""The transforms as they would be with one expression changed: modules imported anew beside the real ones, which stay as they are."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

__all__ = ["Edit", "import_edited", "is_mutable", "tree_of"]

#: Packages and modules that hold rules, and what rules call.
_MUTABLE = ("graphopt.transforms", "graphopt.backends.onnx.legalize", "graphopt.backends.onnxruntime.legalize")


@dataclass(frozen=True, slots=True)
class Edit:
    """Another expression in the place of one.

    Attributes:
        module: name of the module.
        span: first line and column, last line and column of the expression.
        text: source of the other one.
    """

    module: str
    span: tuple[int, int, int, int]
    text: str


def is_mutable(module: str) -> bool:
    """Return whether a module is among those that hold rules."""
    return any(module == name or module.startswith(f"{name}.") for name in _MUTABLE)


def path_of(module: str) -> Path:
    """Return the source file of an imported module."""
    return Path(str(sys.modules[module].__file__))


@functools.cache
def tree_of(module: str) -> ast.Module:
    """Return the syntax tree of a module, which must not be edited."""
    return ast.parse(path_of(module).read_text(encoding="utf-8"))


def import_edited(edit: Edit, entry: str) -> ModuleType:
    """Return a module, imported anew with all transforms that it needs, one of them edited. No file and no real module changes.

    Args:
        edit: what to change.
        entry: name of the module to import.

    Raises:
        ValueError: if the edit fits to no expression that the import meets.
    """
    finder = _Finder(edit)
    with _apart(finder):
        found = importlib.import_module(entry)
    if finder.edits != 1:
        raise ValueError(
            f"{edit.module}: {finder.edits} expressions at {edit.span} when {entry} is imported, expected one"
        )
    return found


@contextmanager
def _apart(finder: MetaPathFinder) -> Iterator[None]:
    real = {name: module for name, module in sys.modules.items() if is_mutable(name)}
    for name in real:
        del sys.modules[name]
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if is_mutable(name)]:
            parent, _, last = name.rpartition(".")
            if name not in real and parent in sys.modules and not is_mutable(parent):
                delattr(sys.modules[parent], last)
            del sys.modules[name]
        sys.modules.update(real)
        for name, module in real.items():
            parent, _, last = name.rpartition(".")
            if not is_mutable(parent):
                setattr(sys.modules[parent], last, module)


class _Finder(MetaPathFinder):
    """Finds the edited module."""

    def __init__(self, edit: Edit) -> None:
        self._edit = edit
        self.edits = 0

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find the one module, as it is found elsewhere, but with a loader that edits it."""
        if name != self._edit.module:
            return None
        spec = PathFinder.find_spec(name, path, target)
        assert spec is not None, f"{name} was imported before"
        spec.loader = _Loader(name, str(spec.origin), self)
        return spec

    def code(self, path: str) -> CodeType:
        """Compile the module with the edit."""
        tree = ast.parse(Path(path).read_text(encoding="utf-8"))
        replaced = _Replace(self._edit)
        tree = ast.fix_missing_locations(replaced.visit(tree))
        self.edits += replaced.count
        return compile(tree, path, "exec")


class _Loader(SourceFileLoader):
    """Loads a source file through the finder, which edits it."""

    def __init__(self, name: str, path: str, finder: _Finder) -> None:
        super().__init__(name, path)
        self._finder = finder

    def get_code(self, fullname: str) -> CodeType:
        """Compile what the finder makes of the file; nothing is cached."""
        return self._finder.code(self.path)


class _Replace(ast.NodeTransformer):
    def __init__(self, edit: Edit) -> None:
        self._edit = edit
        self.count = 0

    def visit(self, node: ast.AST) -> Any:  # noqa: ANN401  as the class above declares it
        """Replace the expression at the span."""
        if isinstance(node, ast.expr) and span_of(node) == self._edit.span:
            self.count += 1
            return ast.copy_location(ast.parse(self._edit.text, mode="eval").body, node)
        return self.generic_visit(node)


def span_of(node: ast.expr) -> tuple[int, int, int, int]:
    """Return where an expression stands."""
    return node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0
