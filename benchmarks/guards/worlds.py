"""The transforms as they would be with one expression changed: modules imported anew beside the real ones, which stay as they are."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

__all__ = ["Edit", "Span", "import_edited", "import_watched", "is_mutable", "span_of", "tree_of"]

#: Packages and modules that hold rules, and what rules call.
_MUTABLE = ("graphopt.transforms", "graphopt.backends.onnx.legalize", "graphopt.backends.onnxruntime.legalize")

#: First line and column, last line and column of an expression.
Span = tuple[int, int, int, int]
#: Is told the module and span of an expression and what it came to, and gives that back.
Note = Callable[[str, Span, object], object]
_NOTE = "__note_condition__"


@dataclass(frozen=True, slots=True)
class Edit:
    """Another expression in the place of one.

    Attributes:
        module: name of the module.
        span: where it stands.
        text: source of the other one.
    """

    module: str
    span: Span
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
    finder = _Finder(edit.module)
    finder.change = lambda module, tree: _Replace(edit, finder).visit(tree)
    with _apart(finder):
        found = importlib.import_module(entry)
    if finder.edits != 1:
        raise ValueError(
            f"{edit.module}: {finder.edits} expressions at {edit.span} when {entry} is imported, expected one"
        )
    return found


def import_watched(spans: Mapping[str, Collection[Span]], entry: str, note: Note) -> ModuleType:
    """Return a module, imported anew with all transforms that it needs, in which expressions tell what they come to.

    Args:
        spans: where the expressions are, by module.
        entry: name of the module to import.
        note: is told.
    """
    finder = _Finder(*spans)
    finder.change = lambda module, tree: _Watch(module, spans[module]).visit(tree)
    finder.names = {_NOTE: note}
    with _apart(finder):
        return importlib.import_module(entry)


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
    """Finds modules that are to be changed."""

    def __init__(self, *modules: str) -> None:
        self._modules = frozenset(modules)
        self.edits = 0
        self.names: dict[str, object] = {}
        self.change: Callable[[str, ast.Module], ast.Module] = lambda module, tree: tree

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find one of the modules, as it is found elsewhere, but with a loader that changes it."""
        if name not in self._modules:
            return None
        spec = PathFinder.find_spec(name, path, target)
        assert spec is not None, f"{name} was imported before"
        spec.loader = _Loader(name, str(spec.origin), self)
        return spec

    def code(self, module: str, path: str) -> CodeType:
        """Compile a module with the change."""
        tree = ast.parse(Path(path).read_text(encoding="utf-8"))
        return compile(ast.fix_missing_locations(self.change(module, tree)), path, "exec")


class _Loader(SourceFileLoader):
    """Loads a source file through the finder, which changes it."""

    def __init__(self, name: str, path: str, finder: _Finder) -> None:
        super().__init__(name, path)
        self._finder = finder

    def get_code(self, fullname: str) -> CodeType:
        """Compile what the finder makes of the file; nothing is cached."""
        return self._finder.code(fullname, self.path)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, with names that the change needs."""
        vars(module).update(self._finder.names)
        super().exec_module(module)


class _Replace(ast.NodeTransformer):
    """Replaces the expression of an edit."""

    def __init__(self, edit: Edit, finder: _Finder) -> None:
        self._edit = edit
        self._finder = finder

    def visit(self, node: ast.AST) -> Any:  # noqa: ANN401  as the class above declares it
        """Replace the expression at the span."""
        if isinstance(node, ast.expr) and span_of(node) == self._edit.span:
            self._finder.edits += 1
            return ast.copy_location(ast.parse(self._edit.text, mode="eval").body, node)
        return self.generic_visit(node)


class _Watch(ast.NodeTransformer):
    """Puts a call around expressions, which tells what they come to."""

    def __init__(self, module: str, spans: Collection[Span]) -> None:
        self._module = module
        self._spans = frozenset(spans)

    def visit(self, node: ast.AST) -> Any:  # noqa: ANN401  as the class above declares it
        """Look inside first: parts of a condition are conditions too."""
        found: Any = self.generic_visit(node)
        if not isinstance(node, ast.expr) or span_of(node) not in self._spans:
            return found
        span = ast.Tuple([ast.Constant(number) for number in span_of(node)], ast.Load())
        call = ast.Call(ast.Name(_NOTE, ast.Load()), [ast.Constant(self._module), span, found], [])
        return ast.copy_location(call, node)


def span_of(node: ast.expr) -> Span:
    """Return where an expression stands."""
    return node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0
