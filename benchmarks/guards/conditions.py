"""From a condition to the conditions that it is made of, each of which can be dropped alone.

`a or b` that rejects is two guards, and so is `a and b` that accepts; `not`, `any(...)` and `all(...)` are looked into, and a chain of
comparisons is one guard for each of its ends.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Part", "parts_of"]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a condition that can be dropped.

    Attributes:
        node: the expression.
        without: source text of what stands in its place when it is dropped.
        what: what is dropped, as people read it.
        accepts: whether the part being true lets a rule apply (else it keeps it from that).
    """

    node: ast.expr
    without: str
    what: str
    accepts: bool


def parts_of(condition: ast.expr, *, accepts: bool) -> Iterator[Part]:
    """Yield the parts of a condition.

    Args:
        condition: the expression.
        accepts: whether a rule applies when it is true.

    Example:
        >>> condition = ast.parse("x is None or not (a and b <= c < d)", mode="eval").body
        >>> [part.what for part in parts_of(condition, accepts=False)]
        ['x is None', 'not a', 'not b <= c', 'not c < d']
    """
    match condition:
        case ast.BoolOp(op=ast.And()) if accepts:
            for operand in condition.values:
                yield from parts_of(operand, accepts=True)
        case ast.BoolOp(op=ast.Or()) if not accepts:
            for operand in condition.values:
                yield from parts_of(operand, accepts=False)
        case ast.UnaryOp(op=ast.Not()):
            yield from parts_of(condition.operand, accepts=not accepts)
        case ast.Call(func=ast.Name(id=name), args=[ast.GeneratorExp() as inner]) if name == (
            "all" if accepts else "any"
        ):
            yield from parts_of(inner.elt, accepts=accepts)
        case ast.Compare() if accepts and len(condition.ops) > 1:
            yield from _ends(condition)
        case ast.Constant():
            return
        case ast.BoolOp():  # one guard as a whole; what is inside its operands can be dropped too
            yield _whole(condition, accepts=accepts)
            for operand in condition.values:
                yield from (part for part in parts_of(operand, accepts=accepts) if part.node is not _bare(operand))
        case _:
            yield _whole(condition, accepts=accepts)


def _whole(condition: ast.expr, *, accepts: bool) -> Part:
    return Part(condition, _dropped(condition, accepts=accepts), _read(condition, accepts=accepts), accepts)


def _bare(condition: ast.expr) -> ast.expr:
    """The condition without `not` in front: to drop an operand of `a or b` that accepts is to drop them both."""
    while isinstance(condition, ast.UnaryOp) and isinstance(condition.op, ast.Not):
        condition = condition.operand
    return condition


def _ends(chain: ast.Compare) -> Iterator[Part]:
    terms = [chain.left, *chain.comparators]
    links = [ast.Compare(left, [how], [right]) for left, how, right in zip(terms, chain.ops, terms[1:], strict=False)]
    for dropped in links:
        kept = " and ".join(ast.unparse(link) for link in links if link is not dropped)
        yield Part(chain, f"({kept})", _read(dropped, accepts=True), accepts=True)


def _dropped(condition: ast.expr, *, accepts: bool) -> str:
    """A constant; what the condition binds is bound all the same."""
    binds = any(isinstance(inner, ast.NamedExpr) for inner in ast.walk(condition))
    if not binds:
        return str(accepts)
    return f"(({ast.unparse(condition)}) {'or' if accepts else 'and'} {accepts})"


def _read(condition: ast.expr, *, accepts: bool) -> str:
    """The condition in the form that rejects."""
    match condition:
        case ast.Compare(ops=[how]) if accepts and type(how) in _OPPOSITE:
            return ast.unparse(ast.Compare(condition.left, [_OPPOSITE[type(how)]()], condition.comparators))
        case ast.Compare() | ast.Call() | ast.Attribute() | ast.Name() | ast.Subscript():
            return f"not {ast.unparse(condition)}" if accepts else ast.unparse(condition)
        case _:
            return f"not ({ast.unparse(condition)})" if accepts else ast.unparse(condition)


#: Comparisons and what holds when they do not, numbers that are no numbers apart.
_OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
