"""Finds the guards in the functions of a rule: conditions that make it give up, and conditions under which it goes ahead."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from benchmarks.guards.conditions import Part, parts_of
from benchmarks.guards.functions import Answer, Function
from benchmarks.guards.worlds import Edit, span_of

__all__ = ["Condition", "conditions_in"]

#: What a piece of code does to a rule: lets it give up, lets it go ahead, hands on what somebody else said, or none of that.
_Effect = Literal["rejects", "accepts", "hands on", ""]
#: Where statements stand.
_Place = Literal["", "loop", "loop with else"]


@dataclass(frozen=True, slots=True)
class Condition:
    """A guard in a function.

    Attributes:
        function: where it stands.
        part: what can be dropped.
    """

    function: Function
    part: Part

    @property
    def edit(self) -> Edit:
        """Return the change that drops it."""
        return Edit(self.function.module, span_of(self.part.node), self.part.without)


def conditions_in(function: Function, *, wanted: bool = True, deeds: bool = False) -> Iterator[Condition]:
    """Yield the guards of one function.

    Args:
        function: the function.
        wanted: for a function that answers a bool, the answer that lets a rule apply.
        deeds: whether to look into functions that answer nothing or a number, as passes have them to edit.
    """
    if function.answer == "other" or (function.answer == "deed" and not deeds):
        return
    reader = _Reader(function.answer, wanted)
    seen: set[tuple[tuple[int, int, int, int], str]] = set()
    for part in reader.statements(function.node.body):
        key = span_of(part.node), part.without
        if key not in seen:
            seen.add(key)
            yield Condition(function, part)


class _Reader:
    """Reads statements of a function that says no in one way."""

    def __init__(self, answer: Answer, wanted: bool) -> None:
        self._answer = answer
        self._wanted = wanted

    def statements(self, body: Iterable[ast.stmt], place: _Place = "") -> Iterator[Part]:
        """Yield the guards of a block."""
        for statement in body:
            match statement:
                case ast.If():
                    yield from self._branch(statement, place)
                case ast.For() | ast.While():
                    inside: _Place = "loop with else" if statement.orelse else "loop"
                    yield from self.statements(statement.body, inside)
                    yield from self.statements(statement.orelse, "loop")
                case ast.With():
                    yield from self.statements(statement.body, place)
                case ast.Match():
                    for case in statement.cases:
                        yield from self.statements(case.body, place)
                case ast.Return(value=ast.expr() as value):
                    yield from self._answered(value)
                case _:
                    yield from self._reasons_in(statement)

    def _branch(self, branch: ast.If, place: _Place) -> Iterator[Part]:
        effect = self._effect_of(branch, place)
        if effect in ("rejects", "accepts"):
            yield from parts_of(branch.test, accepts=effect == "accepts")
        yield from self.statements([*branch.body, *branch.orelse], place)

    def _effect_of(self, branch: ast.If, place: _Place) -> _Effect:
        last = branch.body[-1]
        if isinstance(last, ast.Continue) or (isinstance(last, ast.Return) and last.value is None):
            return "rejects"
        if isinstance(last, ast.Break):  # what stands in the `else` of the loop is not done
            return "rejects" if place == "loop with else" else ""
        if isinstance(last, ast.Return) and last.value is not None:
            effect = self._effect(last.value, branch.test)
            others = {self._effect(value) for value in _returned(branch.body[:-1])}
            return effect if others <= {effect} else ""
        acts = bool(place) or self._answer == "deed"
        return "accepts" if acts and not branch.orelse and not isinstance(last, ast.If | ast.Raise) else ""

    def _effect(self, value: ast.expr, test: ast.expr | None = None) -> _Effect:
        match value:
            case ast.Call(func=ast.Name(id="NoMatch")):
                return "rejects"
            case ast.Call(func=ast.Name(id="PassResult"), keywords=[ast.keyword("changed", ast.Constant(value=False))]):
                return "rejects"
            case ast.Constant(value=None):
                return "accepts" if self._answer == "reason" else "rejects"
            case ast.Constant(value=bool(said)) if self._answer == "bool":
                return "accepts" if said == self._wanted else "rejects"
            case ast.Constant(value=0) if self._answer == "deed":
                return "rejects"
            case ast.Name(id=name) if test is not None and _hands_on(name, test):
                return "hands on"
            case ast.IfExp():
                both = {self._effect(value.body, test), self._effect(value.orelse, test)}
                return "rejects" if both <= {"rejects", "hands on"} else "accepts"
            case _:
                return "" if self._answer == "bool" else "accepts"

    def _answered(self, value: ast.expr) -> Iterator[Part]:
        if self._answer == "bool":
            yield from parts_of(value, accepts=self._wanted)
        elif isinstance(value, ast.IfExp):
            yield from self._choice(value)
        else:
            yield from self._reasons_in(value)

    def _choice(self, value: ast.expr) -> Iterator[Part]:
        if not isinstance(value, ast.IfExp):
            return
        effects = self._effect(value.body, value.test), self._effect(value.orelse, value.test)
        if effects in (("accepts", "rejects"), ("rejects", "accepts")):
            yield from parts_of(value.test, accepts=effects[0] == "accepts")
        yield from self._choice(value.body)
        yield from self._choice(value.orelse)

    def _reasons_in(self, code: ast.AST) -> Iterator[Part]:
        """Yield the guards of `x if condition else NoMatch(...)` anywhere inside."""
        for node in ast.walk(code):
            if isinstance(node, ast.IfExp) and any(_is_reason(side) for side in (node.body, node.orelse)):
                yield from self._choice(node)


def _returned(body: Iterable[ast.stmt]) -> Iterator[ast.expr]:
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Return) and node.value is not None:
                yield node.value


def _is_reason(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "NoMatch"


def _hands_on(name: str, test: ast.expr) -> bool:
    """Whether a test says that what a name stands for is somebody else's reason."""
    match test:
        case ast.Call(func=ast.Name(id="isinstance"), args=[ast.Name(id=tested), ast.Name(id="NoMatch")]):
            return tested == name
        case ast.Compare(left=ast.Name(id=tested), ops=[ast.IsNot()], comparators=[ast.Constant(value=None)]):
            return tested == name
        case ast.UnaryOp(
            op=ast.Not(), operand=ast.Call(func=ast.Name(id="isinstance"), args=[ast.Name(id=tested), *_])
        ):
            return tested == name
        case _:
            return False
