"""Which answer of a function that answers yes or no lets a rule apply, by the conditions in which it is called."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from benchmarks.guards.bodies import conditions_in
from benchmarks.guards.functions import Function

__all__ = ["wanted_answers"]


def wanted_answers(functions: Iterable[Function]) -> dict[str, bool]:
    """Return the wanted answer by qualified name, for functions that answer a bool and are called as a guard.

    Args:
        functions: callers before what they call.
    """
    known = list(functions)
    by_last = {function.name.rpartition(".")[2]: function.name for function in known if function.answer == "bool"}
    wanted: dict[str, bool] = {}
    for function in known:
        for found in conditions_in(function, wanted=wanted.get(function.name, True)):
            called = by_last.get(_name_called(found.part.node))
            if called is not None:
                wanted.setdefault(called, found.part.accepts)
    return wanted


def _name_called(condition: ast.expr) -> str:
    match condition:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) | ast.Attribute(attr=name):
            return name
        case _:
            return ""
