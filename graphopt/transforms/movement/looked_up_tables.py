"""Lookups in tables: along one axis where all axes could be asked for, and laid out as what follows wants the result.

``GatherND(x, Unsqueeze(i, -1)) -> Gather(x, i)``; ``Transpose(Gather(C, I)) -> Gather(C', I)`` and ``Reshape(Gather(C, I)) ->
Gather(C', I')`` where table and places are constant: these take the other form at once. So relative positions are looked up, whose tables
torch stores by position and wants by head. Exact. Touches weights. Source: https://onnx.ai/onnx/operators/onnx__GatherND.html
"""

from __future__ import annotations

import math
from typing import ClassVar, Final, cast

import numpy as np

from graphopt.ir import Array, DType, Node, TensorType, Value
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.movement.alignment import order_of, producer_of
from graphopt.transforms.operands import ints_operand, normalize_axes

__all__ = ["RULES"]

_RESHAPES: Final = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
_MOST_NUMBERS: Final = 1 << 24
#: What others read may be copied up to this size.
_SMALL_BYTES: Final = 1024


def _numbers(value: Value | None) -> Array | None:
    """The numbers of a constant that may take another form."""
    if value is None or not value.is_constant or value.const is None or value.const.dtype is DType.STRING:
        return None
    constant = value.const
    return None if constant.is_sparse or constant.size > _MOST_NUMBERS or value.is_graph_output else constant.numpy()


def _is_own(value: Value) -> bool:
    """Whether a constant in another form is no large copy."""
    return value.use_count == 1 or (value.const is not None and value.const.nbytes <= _SMALL_BYTES)


def _reshaped(places: Value, shape: tuple[int, ...], rw: Rewriter) -> Value:
    """Constant places in another shape: the same value for all that want it, so that the old one goes with its last reader."""
    first = rw.memo.get(("places first", places), places)
    made = rw.memo.get(("places", first, shape))
    if isinstance(made, Value) and made.is_used and made.graph is rw.graph:
        return made
    assert places.const is not None, "they are constant"
    found = rw.constant(places.const.numpy().reshape(shape), places.name)
    rw.memo["places", first, shape], rw.memo["places first", found] = found, first
    return found


class GatherAlongFirstAxis(RewritePattern):
    """GatherND(x, Unsqueeze(i, -1)) -> Gather(x, i), and so for constant places."""

    name: ClassVar[str] = "gather-along-first-axis"
    roots: ClassVar[tuple[str, ...]] = ("GatherND",)
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.GatherND(any_("x"), op.Unsqueeze(any_("i"), const("axes", equal_to=-1))),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Each place must be one number."""
        data, places = node.inputs[:2]
        if data is None or places is None or not places.shape or node.attr("batch_dims", 0) != 0 or not data.rank:
            return NoMatch("a rank is not known, or some axes go along")
        if places.shape[-1] != 1:
            return NoMatch("%s places say more than one axis, or how many is not known", places.type)
        numbers = _numbers(places)
        if numbers is not None:
            if not _is_own(places) and not all(_looks_along_first(user, index) for user, index in places.uses):
                return NoMatch("others read the places")
            return rw.new("Gather", data, _reshaped(places, numbers.shape[:-1], rw), axis=0)
        unsqueeze = producer_of(places, ("Unsqueeze",), node)
        axes = NoMatch("") if unsqueeze is None else ints_operand(unsqueeze, "axes", 1)
        if unsqueeze is None or not isinstance(axes, tuple) or len(axes) != 1:
            return NoMatch("no Unsqueeze gives the places")
        if normalize_axes(axes, len(places.shape)) != (len(places.shape) - 1,):
            return NoMatch("the new axis is not the last one")
        rw.matched = [node, unsqueeze]
        return rw.new("Gather", data, unsqueeze.inputs[0], axis=0)


def _looks_along_first(node: Node, index: int) -> bool:
    data = node.inputs[0]
    alike = node.op == "GatherND" and index == 1 and not node.has_references
    return alike and data is not None and bool(data.rank) and node.attr("batch_dims", 0) == 0


class LayOutTable(RewritePattern):
    """Transpose(Gather(C, I)) -> Gather(C', I), and Reshape, where table and places are constant."""

    name: ClassVar[str] = "lay-out-table"
    roots: ClassVar[tuple[str, ...]] = ("Transpose", *_RESHAPES)
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Transpose(op.Gather(const("table"), const("places", equal_to=0), axis=0)),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """The axes of the places must stay side by side."""
        gather = producer_of(node.input_at(0), ("Gather",), node)
        if gather is None or gather.has_references:
            return NoMatch("it reads no lookup that nobody else reads")
        stored, places = gather.inputs
        table = _numbers(stored)
        if table is None or stored is None or not _is_own(stored) or places is None or not places.rank:
            return NoMatch("the table is not constant, or others read it, or one place is looked up")
        rw.matched = [node, gather]
        if node.op == "Transpose":
            return self._transposed(node, gather, table, rw)
        axis = _axis(gather)
        cut = None if axis is None or not places.is_constant else _cut(node, gather.output, axis, places.rank)
        if cut is None:
            return NoMatch("axes of %s and of the places don't stay apart in %s", stored.type, node.output.type)
        before, within, after = cut
        if not _is_own(places) and any(_places_wanted(user) != within for user in places.users):
            return NoMatch("others want the places in another shape")
        laid_out = table.reshape(*before, table.shape[gather.int_attr("axis", 0)], *after)
        return rw.new("Gather", laid_out, _reshaped(places, within, rw), axis=len(before))

    @staticmethod
    def _transposed(node: Node, gather: Node, table: Array, rw: Rewriter) -> Replacement:
        places = gather.inputs[1]
        found = _transposition(node, gather)
        if found is None or places is None:
            return NoMatch("the axes of the places are taken apart, or are not known")
        order, first = found
        axis, count = gather.int_attr("axis", 0) % table.ndim, places.rank or 0
        kept = (*order[: first + 1], *order[first + count :])
        axes = [place if place <= axis else place - count + 1 for place in kept]
        return rw.new("Gather", np.ascontiguousarray(table.transpose(axes)), places, axis=first)


def _axis(gather: Node) -> int | None:
    """The axis that is looked along, counted from the front."""
    table = gather.inputs[0]
    rank, axis = None if table is None else table.rank, gather.int_attr("axis", 0)
    return axis % rank if rank is not None and -rank <= axis < rank else None


def _transposition(node: Node, gather: Node) -> tuple[tuple[int, ...], int] | None:
    """The order of a transposed lookup, and where the axes of the places begin in it; ``None`` where they don't stay side by side."""
    axis, made, places = _axis(gather), gather.output, gather.inputs[1]
    count = None if places is None else places.rank
    order = None if made.rank is None else order_of(node, made.rank)
    if order is None or axis is None or not count:
        return None
    first = order.index(axis)
    return (order, first) if order[first : first + count] == tuple(range(axis, axis + count)) else None


def _cut(
    node: Node, made: Value, first_axis: int, count: int
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]] | None:
    """Axes of a reshaped lookup before those of the places, of the places, and after; ``None`` where they don't stay apart.

    Args:
        node: changes the shape.
        made: the lookup.
        first_axis: where the axes of the places begin in it.
        count: how many these are.
    """
    wanted, given = (
        value.type.static_shape if isinstance(value.type, TensorType) else None for value in (node.output, made)
    )
    if wanted is None or given is None or 0 in given:
        return None
    before, looked_up = math.prod(given[:first_axis]), math.prod(given[first_axis : first_axis + count])
    rest = math.prod(given[first_axis + count :])
    for first in range(len(wanted) + 1):
        if math.prod(wanted[:first]) == before:
            for last in range(first + 1, len(wanted) + 1):
                if math.prod(wanted[first:last]) == looked_up and math.prod(wanted[last:]) == rest:
                    return wanted[:first], wanted[first:last], wanted[last:]
    return None


def _places_wanted(gather: Node) -> tuple[int, ...] | None:
    """The shape in which what reads a lookup, maybe behind a Transpose, will want the places."""
    table, places, first = gather.inputs[0], gather.inputs[1], _axis(gather)
    reader = gather.output.users[0] if gather.op == "Gather" and gather.output.has_single_use else None
    if (
        reader is None
        or table is None
        or places is None
        or first is None
        or _numbers(table) is None
        or not _is_own(table)
    ):
        return None
    if reader.op == "Transpose":
        found = _transposition(reader, gather)
        if found is None or not reader.output.has_single_use:
            return None
        first, reader = found[1], reader.output.users[0]
    cut = _cut(reader, cast(Value, reader.inputs[0]), first, places.rank or 0) if reader.op in _RESHAPES else None
    return None if cut is None else cut[1]


RULES = (GatherAlongFirstAxis(), LayOutTable())
