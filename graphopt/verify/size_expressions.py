"""Sizes whose names are expressions over other names, as exporters write them: ``past + 1``, ``2*s0``, ``floor(h/2)``, ``Max(1, s0 - 3)``.

Read for guesses only: nothing makes such a name mean more than itself, see docs/decisions/0018-names-that-are-expressions.md. Numbers are
exact; what is left of a division at the end is cut off.
"""

from __future__ import annotations

import ast
import functools
import math
import operator
from collections.abc import Callable, Container, Mapping
from fractions import Fraction
from typing import Final

__all__ = ["evaluate_size", "is_size_expression"]

_OPERATORS: Final[Mapping[type[ast.operator], Callable[[Fraction, Fraction], Fraction | int]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
}
_FUNCTIONS: Final[Mapping[str, Callable[..., Fraction | int]]] = {
    "floor": math.floor,
    "ceiling": math.ceil,
    "ceil": math.ceil,
    "max": max,
    "min": min,
    "mod": operator.mod,
    "floordiv": operator.floordiv,
    "abs": abs,
}
_ARGUMENTS: Final = {"max": range(1, 9), "min": range(1, 9), "mod": range(2, 3), "floordiv": range(2, 3)}


def is_size_expression(text: str, known: Container[str]) -> bool:
    """Whether a name of a size can be read as arithmetic over other names.

    Args:
        text: the name.
        known: the other names.

    Example:
        >>> [is_size_expression(text, {"h"}) for text in ("floor(h/2) + 1", "h", "h + w", "open(h)")]
        [True, False, False, False]
    """
    tree = _parsed(text)
    return tree is not None and not isinstance(tree, ast.Name) and _is_arithmetic(tree, known, text)


def evaluate_size(text: str, sizes: Mapping[str, int]) -> int:
    """What a name stands for when others have sizes; -1, which is no size, where there is a division by zero.

    Args:
        text: a name in ``sizes``, or an expression over them.
        sizes: by name.

    Raises:
        KeyError: if a name has no size.

    Example:
        >>> evaluate_size("floor((h - 1)/2) + 1", {"h": 6})
        3
    """
    found = sizes.get(text)
    if found is not None:
        return found
    tree = _parsed(text)
    assert tree is not None, "an expression was checked when it was found"
    try:
        return math.floor(_value(tree, sizes))
    except ZeroDivisionError:
        return -1


@functools.lru_cache(maxsize=1024)
def _parsed(text: str) -> ast.expr | None:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _function(tree: ast.Call) -> str | None:
    """Which function is called: sympy spells some of them in capitals."""
    name = tree.func.id.lower() if isinstance(tree.func, ast.Name) else ""
    fits = not tree.keywords and len(tree.args) in _ARGUMENTS.get(name, range(1, 2))
    return name if fits and name in _FUNCTIONS else None


def _is_arithmetic(tree: ast.expr, known: Container[str], text: str) -> bool:
    match tree:
        case ast.Constant(value=value):
            return type(value) is int
        case ast.Name(id=name):
            return name in known and name != text
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return _is_arithmetic(inner, known, text)
        case ast.BinOp(left=left, op=op, right=right):
            return type(op) in _OPERATORS and _is_arithmetic(left, known, text) and _is_arithmetic(right, known, text)
        case ast.Call(args=arguments):
            return _function(tree) is not None and all(_is_arithmetic(item, known, text) for item in arguments)
        case _:
            return False


def _value(tree: ast.expr, sizes: Mapping[str, int]) -> Fraction:
    match tree:
        case ast.Constant(value=int(value)):
            return Fraction(value)
        case ast.Name(id=name):
            return Fraction(sizes[name])
        case ast.UnaryOp(operand=inner):
            return -_value(inner, sizes)
        case ast.BinOp(left=left, op=op, right=right):
            return Fraction(_OPERATORS[type(op)](_value(left, sizes), _value(right, sizes)))
        case ast.Call(args=arguments):
            function = _FUNCTIONS[_function(tree) or ""]
            return Fraction(function(*(_value(item, sizes) for item in arguments)))
        case _:
            raise AssertionError("an expression was checked when it was found")
