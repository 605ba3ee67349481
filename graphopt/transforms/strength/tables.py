"""Does to the rows of a table what is done to each row that is looked up.

``Gather(E, i) * c -> Gather(E * c, i)``, and for sums, differences and quotients with a constant row; ``MatMul(Gather(E, i), W) ->
Gather(E @ W, i)`` where the result is no larger than both. Only for tables that nobody else reads. Touches weights. Numerics:
re-associates.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graphopt.ir import Constant, DType, Node, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.fusion.linear import Float64, round_to
from graphopt.transforms.movement.alignment import producer_of

__all__ = ["RULES"]

_FLOATS = frozenset({DType.FLOAT, DType.DOUBLE})
_MOST_NUMBERS = 1 << 22
_MOST_PRODUCTS = 1 << 28
_TABLE, _ROW = op.Gather(const("table"), any_("i"), axis=0), const("row", scalar=True)


class ComputeInTable(RewritePattern):
    """Mul(Gather(E, i), c) -> Gather(E * c, i), Add, Sub, Div and MatMul."""

    name: ClassVar[str] = "compute-in-table"
    roots: ClassVar[tuple[str, ...]] = ("Add", "Sub", "Mul", "Div", "MatMul")
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (op["Add", "Mul"](_TABLE, _ROW), op["Sub", "Div"](_TABLE, _ROW))

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """The lookup must be the left operand, or of a sum or product either."""
        if (node.opset or 0) < 7:
            return NoMatch("opset %s broadcasts otherwise", node.opset)
        for place in (0, 1) if node.op in ("Add", "Mul") else (0,):
            gather = producer_of(node.inputs[place], ("Gather",), node)
            other = node.inputs[1 - place]
            if gather is None or other is None or not other.is_constant or other.const is None:
                continue
            found = self._table(gather, other.const, node)
            if isinstance(found, NoMatch):
                return found
            rw.matched = [node, gather]
            return rw.new("Gather", found, gather.inputs[1], axis=0)
        return NoMatch("no lookup meets a constant")

    @staticmethod
    def _table(gather: Node, other: Constant, node: Node) -> Float64 | NoMatch:
        table, places = gather.inputs
        if table is None or places is None or places.is_constant or not _is_own(table) or table.const is None:
            return NoMatch("the table is not constant, or somebody else reads it")
        shape = table.const.shape
        if len(shape) != 2 or gather.int_attr("axis", 0) != 0 or places.rank is None:
            return NoMatch("rows of a table of shape %s are not looked up", shape)
        if table.const.dtype not in _FLOATS or other.dtype != table.const.dtype or table.const.size > _MOST_NUMBERS:
            return NoMatch("the table is %s", table.const.type)
        if node.op == "MatMul":
            if len(other.shape) != 2 or shape[0] * other.shape[1] > table.const.size + other.size:
                return NoMatch("the table would grow")
            if shape[0] * shape[1] * other.shape[1] > _MOST_PRODUCTS or places.rank < 1:
                return NoMatch("it would take long, or one row is looked up")
        elif other.size != 1 and (other.shape[-1] != shape[1] or other.size != shape[1]):
            return NoMatch("the constant of shape %s is no row", other.shape)
        if len(other.shape) > places.rank + 1:
            return NoMatch("the constant has more axes than what is looked up")
        left, right = table.const.numpy().astype(np.float64), other.numpy().astype(np.float64)
        if not (np.isfinite(left).all() and np.isfinite(right).all()) or (node.op == "Div" and not right.all()):
            return NoMatch("a number is not finite, or divides by zero")
        found = left @ right if node.op == "MatMul" else _COMPUTED[node.op](left, right.reshape(-1))
        return round_to(found, table.const.dtype)  # type: ignore[return-value]  # of the table's type


_COMPUTED = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}


def _is_own(table: Value) -> bool:
    return table.is_constant and table.has_single_use


RULES = (ComputeInTable(),)
