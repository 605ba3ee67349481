"""Reads products of a value and a function of it, ``c * x * (a * f(x) + b)``, in any order of factors.

The gate is the operator ``f``; numbers may stand anywhere: ``(0.5 * x) * (1 + f)``, ``x * (0.5 + 0.5 * f)``, ``(x * (f + 1)) / 2``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from graphopt.ir import Node, Value
from graphopt.transforms.expressions import affine_steps, products, scaled_steps

__all__ = ["Gated", "gated", "linear_in"]


@dataclass(frozen=True, slots=True)
class Gated:
    """``x * (scale * f + offset)`` with ``f`` the output of ``gate``, whose input may be any function of ``x``."""

    x: Value
    gate: Node
    scale: float
    offset: float


def gated(node: Node, ops: frozenset[str]) -> Iterator[Gated]:
    """The ways to read a product as one with a gate among some operators; which ``x`` it is, the input of the gate must tell.

    Args:
        node: the last node, Mul or Div.
        ops: operators that the gate may be.
    """
    for coefficient, one, other in products(node):
        for factor, function in ((one, other), (other, one)):
            for step in affine_steps(function):
                gate = step.value.producer
                if gate is None or gate.op not in ops or gate.input_at(0) is None:
                    continue
                for multiple in scaled_steps(factor):
                    total = coefficient * multiple.scale
                    yield Gated(multiple.value, gate, total * step.scale, total * step.offset)


def linear_in(value: Value | None, x: Value) -> tuple[float, float] | None:
    """``(a, b)`` with ``value = a * x + b``, ``None`` if it is not read like that."""
    if value is None:
        return None
    for step in affine_steps(value):
        if step.value is x:
            return step.scale, step.offset
    return None
