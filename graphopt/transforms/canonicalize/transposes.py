"""Removes Transpose nodes that move nothing and merges chains of them.

``Transpose[identity](x) -> x``; ``Transpose[q](Transpose[p](x)) -> Transpose[r](x)`` with ``r[i] = p[q[i]]``. Exact: no number is touched.
"""

from __future__ import annotations

from graphopt.ir import Node
from graphopt.rewriting import Match, NoMatch, Replacement, Rewriter, any_, op, rewrite

__all__ = ["RULES"]


def _permutation(node: Node, rank: int | None) -> tuple[int, ...] | None:
    """The stated permutation, or the reverse order that stands for none; ``None`` when the rank is not known."""
    stated = node.ints_attr("perm")
    if stated is not None:
        return stated
    return None if rank is None else tuple(reversed(range(rank)))


@rewrite(op.Transpose(any_("x")))
def eliminate_transpose(m: Match, rw: Rewriter) -> Replacement:
    """Transpose(x) -> x when the axes keep their order."""
    order = _permutation(m.root, m["x"].rank)
    if order is None or order != tuple(range(len(order))):
        return NoMatch("the order of axes is %s", order)
    return m["x"]


@rewrite(op.Transpose(op.Transpose(any_("x"), name="inner", shared=True)))
def merge_transposes(m: Match, rw: Rewriter) -> Replacement:
    """Transpose(Transpose(x)) -> Transpose(x), or x when the second undoes the first."""
    inner, outer = m.node("inner"), m.root
    first, second = inner.ints_attr("perm"), outer.ints_attr("perm")
    if first is None and second is None:
        return m["x"]
    rank = len(first or second or ())
    first, second = _permutation(inner, rank), _permutation(outer, rank)
    if first is None or second is None or len(first) != len(second):
        return NoMatch("permutations %s and %s do not fit", first, second)
    order = tuple(first[axis] for axis in second)
    if order == tuple(range(rank)):
        return m["x"]
    if not inner.output.has_single_use and not (
        all(user.op == "Transpose" for user in inner.output.users) and not inner.output.is_graph_output
    ):
        return NoMatch("%r stays, merging would save nothing", inner.output.name)
    return rw.new("Transpose", m["x"], perm=order)


RULES = (eliminate_transpose, merge_transposes)
