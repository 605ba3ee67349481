"""Removes operators with a constant operand that changes nothing.

``x * 1``, ``x / 1``, ``x ** 1`` (floats), ``x - 0``, ``x + -0.0`` and ``x + 0`` for integers, ``x and true``, ``x or false``,
``x xor false -> x``, where the constant does not broadcast ``x`` to another shape: exact. ``x + 0.0`` and ``x - -0.0`` turn a negative
zero into a positive one, so :class:`DropZeroTerm` declares that. Source: IEEE 754-2019, section 6.3.

Before opset 23, which has the last operator for them, runtimes know spelt-out normalizations by the scale and the offset at their end;
there they stay, ones and zeros or not.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graphopt.ir import Array, Node, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.broadcasting import keeps_shape

__all__ = ["ALGEBRA_RULES", "RULES"]

#: Operator to the number that changes nothing, and the inputs at which it may stand.
_NEUTRAL: dict[str, tuple[int, tuple[int, ...]]] = {
    "Mul": (1, (1, 0)),
    "Div": (1, (1,)),
    "Pow": (1, (1,)),
    "Add": (0, (1, 0)),
    "Sub": (0, (1,)),
    "And": (1, (1, 0)),
    "Or": (0, (1, 0)),
    "Xor": (0, (1, 0)),
}


_SINCE_RMS_NORMALIZATION = 23


def _ends_normalization(x: Value, array: Array) -> bool:
    """Whether a constant vector scales or shifts what was divided by a root: the end of a spelt-out layer normalization."""
    if array.ndim != 1 or array.size < 2:
        return False
    node = x.producer
    if node is not None and node.op == "Mul" and len(node.inputs) == 2:  # what is shifted was scaled before
        scaled = [value for value in node.inputs if value is not None and not value.is_constant]
        node = scaled[0].producer if len(scaled) == 1 else node
    if node is None or node.op not in ("Div", "Mul") or len(node.inputs) != 2:
        return False
    makers = [None if value is None else value.producer for value in node.inputs]
    if node.op == "Div":
        return makers[1] is not None and makers[1].op == "Sqrt"
    return any(maker is not None and _is_inverse_root(maker) for maker in makers)


def _is_inverse_root(node: Node) -> bool:
    """Whether a node gives the inverse of a root, in one of the ways that exporters write it."""
    if node.op not in ("Reciprocal", "Div", "Pow"):
        return False
    root = node.input_at(1 if node.op == "Div" else 0)
    return node.op == "Pow" or (root is not None and root.producer is not None and root.producer.op == "Sqrt")


def is_filled_with(array: Array, number: int) -> bool:
    """Whether each element equals a number (there is at least one); a large array is read only if its first one does."""
    if not array.size or array.dtype == object or array.reshape(-1)[0] != number:
        return False
    return bool((array == number).all())


class DropNeutralOperand(RewritePattern):
    """x * 1, x / 1, x ** 1, x - 0, x + -0.0, integer x + 0, x and true, x or false -> x."""

    name: ClassVar[str] = "drop-neutral-operand"
    roots: ClassVar[tuple[str, ...]] = tuple(_NEUTRAL)
    reach: ClassVar[int] = 1
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op["Mul", "Add", "And", "Or", "Xor"](any_("x"), const("operand"), commute=True),
        op["Div", "Sub", "Pow"](any_("x"), const("operand")),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Look at the constant operand, then at shapes."""
        if len(node.inputs) != 2:
            return NoMatch("%s has %d inputs", node.op, len(node.inputs))
        number, positions = _NEUTRAL[node.op]
        for position in positions:
            operand, x = node.inputs[position], node.inputs[1 - position]
            if operand is None or x is None or not operand.is_constant or operand.const is None:
                continue
            array = operand.const.numpy()
            if not is_filled_with(array, number) or not self._keeps_bits(node.op, array):
                continue
            if node.op == "Pow" and (x.dtype is None or not x.dtype.is_float):
                return NoMatch("%s goes through floating point", x.type)
            if not keeps_shape(x.shape, array.shape):
                return NoMatch("%s may grow to %s", x.type, operand.type)
            if (node.opset or 0) < 7:
                return NoMatch("broadcasting before opset 7 goes by attributes")
            if (node.opset or 0) < _SINCE_RMS_NORMALIZATION and _ends_normalization(x, array):
                return NoMatch("runtimes know a normalization by its scale and offset")
            return x
        return NoMatch("no operand is constant and neutral")

    def _keeps_bits(self, op: str, array: Array) -> bool:
        """Whether the sign of zero survives, and no integer goes through floating point."""
        is_integer = array.dtype.kind in "iub"
        if op == "Add":
            return is_integer or bool(np.signbit(array.astype(np.float32)).all())
        if op == "Sub":
            return is_integer or not np.signbit(array.astype(np.float32)).any()
        return op != "Pow" or not is_integer


class DropZeroTerm(DropNeutralOperand):
    """x + 0.0, x - -0.0 -> x; a negative zero stays negative."""

    name: ClassVar[str] = "drop-zero-term"
    roots: ClassVar[tuple[str, ...]] = ("Add", "Sub")
    numerics: ClassVar[Numerics] = Reassociates(1e-6)
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Add(any_("x"), const("operand"), commute=True),
        op.Sub(any_("x"), const("operand")),
    )

    def _keeps_bits(self, op: str, array: Array) -> bool:
        return True


RULES = (DropNeutralOperand(),)
ALGEBRA_RULES = (DropZeroTerm(),)
