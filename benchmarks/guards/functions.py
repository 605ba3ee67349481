"""The functions that a rule runs: its own, and those of the transforms that they call, with what each answers."""

from __future__ import annotations

import ast
import inspect
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from benchmarks.guards.worlds import is_mutable, tree_of

__all__ = ["Answer", "Function", "called_functions", "function_of"]

#: How a function says no: with `NoMatch`, `None`, `False`; by doing nothing (counting 0); or it answers something else.
Answer = Literal["reason", "none", "bool", "deed", "other"]
_FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the transforms, as source.

    Attributes:
        module: name of its module.
        name: qualified name.
        node: its syntax tree.
    """

    module: str
    name: str
    node: _FunctionNode

    @property
    def answer(self) -> Answer:
        """Return how it says no, by what it is annotated to return."""
        text = "" if self.node.returns is None else ast.unparse(self.node.returns)
        if "NoMatch" in text or text == "Replacement":
            return "reason"
        if text == "bool":
            return "bool"
        if text in ("None", "int", "PassResult"):
            return "deed"
        return "none" if "None" in text.split(" | ") else "other"


def function_of(item: object) -> Function | None:
    """Return the source of a function, method or property of the transforms; `None` for anything else."""
    if isinstance(item, property):
        item = item.fget
    item = inspect.unwrap(item) if callable(item) else item
    if not inspect.isfunction(item) or not is_mutable(item.__module__):
        return None
    node = _definition(tree_of(item.__module__).body, item.__qualname__.split("."))
    return None if node is None else Function(item.__module__, item.__qualname__, node)


def _definition(body: Iterable[ast.stmt], path: list[str]) -> _FunctionNode | None:
    for item in body:
        if isinstance(item, ast.ClassDef | _FunctionNode) and item.name == path[0]:
            if len(path) > 1:
                return _definition(item.body, path[1:]) if isinstance(item, ast.ClassDef) else None
            return item if isinstance(item, _FunctionNode) else None
    return None


def called_functions(start: Iterable[Callable[..., object]], owner: type | None = None) -> list[Function]:
    """Return functions of the transforms and all that they call there, nearest first.

    Args:
        start: where to begin.
        owner: the class whose methods `self` has.
    """
    found: dict[tuple[str, str], Function] = {}
    todo = deque(function for item in start if (function := function_of(item)) is not None)
    while todo:
        function = todo.popleft()
        if (function.module, function.name) in found:
            continue
        found[function.module, function.name] = function
        todo.extend(_called_by(function, owner))
    return list(found.values())


def _called_by(function: Function, owner: type | None) -> Iterator[Function]:
    scope = vars(sys.modules[function.module])
    classes = [item for item in scope.values() if isinstance(item, type) and is_mutable(item.__module__)]
    for node in ast.walk(function.node):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                items = [scope.get(name)]
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name) if owner is not None:
                items = [inspect.getattr_static(owner, name, None)]
            case ast.Attribute(attr=name):
                items = [vars(item).get(name) for item in classes]
            case _:
                continue
        for item in items:
            inner = item.__func__ if isinstance(item, staticmethod | classmethod) else item
            called = function_of(inner)
            if called is not None:
                yield called
