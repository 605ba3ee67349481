"""Reads an expression from its last node backwards, whatever order and operators it is spelled in.

Views say what a value is: a number, ``a * x + b`` of some ``x``, the square of another value. They look at few nodes and edit nothing. In
the end :func:`nodes_between` says which nodes lie between the last one and what the expression was found to depend on, and whether
anybody else reads what they give. May import ``graphopt.ir`` and ``graphopt.rewriting``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from graphopt.ir import DType, Node, Value
from graphopt.rewriting import NoMatch

__all__ = [
    "Affine",
    "affine_steps",
    "is_close",
    "nodes_between",
    "other_operand",
    "producer",
    "products",
    "scalar",
    "scaled_steps",
    "square_of",
]

#: More steps than any spelling of a scaled and shifted value has.
_MOST_STEPS: Final = 5
#: More nodes than any spelling has.
_MOST_NODES: Final = 40
#: How far a constant may be from the number it stands for: what is lost by writing down seven digits, or by rounding to the type.
_CLOSE: Final = {DType.FLOAT16: 1e-3, DType.BFLOAT16: 8e-3}


def is_close(number: float, expected: float, dtype: DType | None) -> bool:
    """Whether a number stands for another one in a model of this element type.

    Example:
        >>> is_close(1.41421, 2**0.5, DType.FLOAT), is_close(1.414, 2**0.5, DType.FLOAT), is_close(1.414, 2**0.5, DType.FLOAT16)
        (True, False, True)
    """
    return math.isclose(number, expected, rel_tol=_CLOSE.get(dtype, 4e-6) if dtype is not None else 4e-6)


def scalar(value: Value | None) -> float | None:
    """The number of a floating-point constant of one element."""
    if value is None or not value.is_constant or value.const is None:
        return None
    constant = value.const
    return float(constant.numpy().reshape(-1)[0]) if constant.size == 1 and constant.dtype.is_float else None


def producer(value: Value | None, *ops: str) -> Node | None:
    """The node that gives a value as its first output, if it is one of these operators."""
    node = None if value is None else value.producer
    return node if value is not None and node is not None and node.op in ops and value.index == 0 else None


def other_operand(node: Node, value: Value) -> Value | None:
    """The other one of two operands."""
    a, b = node.inputs[0], node.inputs[1]
    return b if a is value else a if b is value else None


def square_of(value: Value | None) -> Value | None:
    """What a value is the square of: ``Mul(x, x)`` or ``Pow(x, 2)``."""
    node = producer(value, "Mul", "Pow")
    if node is None:
        return None
    x, other = node.inputs[0], node.inputs[1]
    if node.op == "Mul":
        return x if x is other else None
    exponent = None if other is None or not other.is_constant else other.const
    return x if exponent is not None and exponent.size == 1 and float(exponent.numpy().reshape(-1)[0]) == 2 else None


@dataclass(frozen=True, slots=True)
class Affine:
    """``scale * value + offset``."""

    value: Value
    scale: float = 1.0
    offset: float = 0.0


def affine_steps(value: Value) -> Iterator[Affine]:
    """A value in terms of itself, of what it is computed from by one operator with a number, and so on backwards.

    Example:
        For ``y = 3 - 2 * x`` it gives ``1 * y + 0``, ``-1 * (2 * x) + 3`` and ``-2 * x + 3``.
    """
    found = Affine(value)
    yield found
    for _ in range(_MOST_STEPS):
        node = producer(found.value, "Mul", "Div", "Add", "Sub", "Neg", "Identity")
        step = None if node is None else _one_step(node)
        if step is None:
            return
        scale, offset = found.scale * step.scale, found.scale * step.offset + found.offset
        if not (math.isfinite(scale) and math.isfinite(offset)) or scale == 0:
            return
        found = Affine(step.value, scale, offset)
        yield found


def scaled_steps(value: Value) -> Iterator[Affine]:
    """Those of :func:`affine_steps` without an offset."""
    return (step for step in affine_steps(value) if step.offset == 0)


def _one_step(node: Node) -> Affine | None:
    x = node.inputs[0]
    if len(node.inputs) == 1:
        return None if x is None else Affine(x, -1.0 if node.op == "Neg" else 1.0)
    y = node.inputs[1]
    number, first = scalar(y), True
    if number is None:
        number, first = scalar(x), False
    of = x if first else y
    if number is None or of is None or of.is_constant or not math.isfinite(number):
        return None
    match node.op:
        case "Mul":
            return Affine(of, number)
        case "Div":
            return Affine(of, 1 / number) if first and number else None
        case "Add":
            return Affine(of, 1.0, number)
        case _:
            return Affine(of, 1.0, -number) if first else Affine(of, -1.0, number)


def products(node: Node) -> Iterator[tuple[float, Value, Value]]:
    """What a product of two values and a number is made of: number, one factor, the other; at most one way."""
    coefficient = 1.0
    for _ in range(_MOST_STEPS):
        if node.op not in ("Mul", "Div"):
            return
        a, b = node.inputs[0], node.inputs[1]
        if a is None or b is None:
            return
        step = _one_step(node)
        if step is None:
            if node.op == "Mul":
                yield coefficient, a, b
            return
        coefficient *= step.scale
        inner = producer(step.value, "Mul", "Div")
        if inner is None:
            return
        node = inner


def nodes_between(root: Node, leaves: Collection[Value], x: Value) -> tuple[Node, ...] | NoMatch:
    """The nodes that compute a root from leaves and constants, the root first.

    Args:
        root: the last node.
        leaves: what the expression depends on, besides constants.
        x: the leaf whose shape all of it has: no constant of one element may have more axes.

    Returns:
        The nodes, or why they can't be replaced as one: something else goes into them, somebody else reads what they give, they stand
        in another graph, an attribute depends on the surrounding function.
    """
    found = {root: None}
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node.graph is not root.graph:
            return NoMatch("%r is captured from an outer graph", node.output.name)
        if node.attributes and (node.has_references or node.subgraphs):
            return NoMatch("an attribute of %s refers to one of the surrounding function", node.op)
        for value in node.inputs:
            if value is None or value in leaves:
                continue
            if value.is_constant:
                if scalar(value) is not None and not _keeps_rank(value, x):
                    return NoMatch("constant %r has more axes than %r", value.name, x.name)
                continue
            inner = value.producer
            if inner is None:
                return NoMatch("%r goes into it too", value.name)
            if inner not in found:
                found[inner] = None
                waiting.append(inner)
        if len(found) > _MOST_NODES:
            return NoMatch("it depends on more than %d nodes", _MOST_NODES)
    for node in found:
        if node is root:
            continue
        for value in node.outputs:
            if value.is_graph_output:
                return NoMatch("%r is a graph output", value.name)
            if any(user not in found for user, _position in value._uses):
                return NoMatch("%r has another user", value.name)
    return tuple(found)


def _keeps_rank(constant: Value, x: Value) -> bool:
    rank = 0 if constant.const is None else len(constant.const.shape)
    return rank == 0 or (x.rank is not None and rank <= x.rank)
