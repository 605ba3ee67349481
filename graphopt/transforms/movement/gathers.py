"""Lookups of constant places: with the axes that they should have, and several of them at once.

``Unsqueeze[a](Gather[i, a](x)) -> Gather[[i], a](x)`` and ``Squeeze[a](Gather[[i], a](x)) -> Gather[i, a](x)``; neighbours in a Concat
that take places of one tensor along the axis that they are joined along become one Gather. Exact. Source: https://onnx.ai/onnx/operators/onnx__Gather.html
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graphopt.ir import DType, Node, Value
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.movement.alignment import producer_of
from graphopt.transforms.operands import constant_ints, ints_operand, normalize_axes

__all__ = ["RULES", "places_of"]


def places_of(gather: Node) -> tuple[Value, int, tuple[int, ...], int] | NoMatch:
    """Data, axis from the front, constant places of a Gather, and the rank of the places."""
    data, which = gather.inputs
    if data is None or which is None or data.rank is None or which.rank is None or data.dtype in (None, DType.STRING):
        return NoMatch("a rank is not known, or it is text")
    numbers = constant_ints(which)
    axis = gather.int_attr("axis", 0)
    if isinstance(numbers, NoMatch):
        return numbers
    if not -data.rank <= axis < data.rank:
        return NoMatch("there is no axis %d", axis)
    return data, axis % data.rank, numbers, which.rank


class GatherWithAxis(RewritePattern):
    """Unsqueeze(Gather[i](x)) -> Gather[[i]](x), Squeeze(Gather[[i]](x)) -> Gather[i](x)."""

    name: ClassVar[str] = "gather-with-axis"
    roots: ClassVar[tuple[str, ...]] = ("Squeeze", "Unsqueeze")
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Unsqueeze(op.Gather(any_("x"), const("zero", equal_to=0), axis=0), const("axis", equal_to=0)),
        op.Unsqueeze(op.Gather(any_("x"), const("zero", equal_to=0), axis=0), axes=(0,)),
        op.Squeeze(op.Gather(any_("x"), const("zero", equal_to=0), axis=0), const("axis", equal_to=0)),
        op.Squeeze(op.Gather(any_("x"), const("zero", equal_to=0), axis=0), axes=(0,)),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """The axis must be the one that Gather looks along."""
        gather = producer_of(node.input_at(0), ("Gather",), node)
        found = NoMatch("the input is no lookup that nobody else reads") if gather is None else places_of(gather)
        if isinstance(found, NoMatch):
            return found
        data, axis, numbers, rank = found
        wide = (data.rank or 0) - 1 + rank
        axes = ints_operand(node, "axes", 1)
        stated = None if not isinstance(axes, tuple) else normalize_axes(axes, wide + (node.op == "Unsqueeze"))
        if stated != (axis,) or len(numbers) != 1 or rank != (node.op == "Squeeze"):
            return NoMatch("axes are %s, places %s along axis %d", axes, numbers, axis)
        which = np.array(numbers if node.op == "Unsqueeze" else numbers[0], np.int64)
        return rw.new("Gather", data, which, axis=axis)


class JoinGathers(RewritePattern):
    """Concat(…, Gather[i](x), Gather[j](x), …) -> Concat(…, Gather[i, j](x), …)."""

    name: ClassVar[str] = "join-gathers"
    roots: ClassVar[tuple[str, ...]] = ("Concat",)
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Concat(
            op.Gather(any_("x"), const("i", equal_to=0), axis=0),
            op.Gather(any_("x"), const("j", equal_to=0), axis=0),
            axis=0,
        ),
        op.Concat(
            op.Gather(any_("x"), const("i", equal_to=0), axis=0),
            op.Gather(any_("x"), const("j", equal_to=0), axis=0),
            any_("y"),
            axis=0,
        ),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Runs of lookups that nobody else reads."""
        rank = node.output.rank
        axis = None if rank is None else node.int_attr("axis", 1) % rank
        runs: list[tuple[list[Value | None], Value | None, list[int]]] = []
        for value in node.inputs:
            part = self._part(value, node, axis)
            if part is not None and runs and runs[-1][1] is part[0]:
                runs[-1][0].append(value)
                runs[-1][2].extend(part[1])
            else:
                runs.append(([value], None if part is None else part[0], [] if part is None else part[1]))
        if len(runs) == len(node.inputs):
            return NoMatch("no neighbours are lookups of one tensor")
        inputs = [
            values[0] if len(values) == 1 else rw.new("Gather", source, np.array(places, np.int64), axis=axis)
            for values, source, places in runs
        ]
        if len(inputs) == 1 and inputs[0] is not None:
            return inputs[0]
        return rw.new_node("Concat", inputs, attributes=dict(node.attributes)).output

    @staticmethod
    def _part(value: Value | None, node: Node, axis: int | None) -> tuple[Value, list[int]] | None:
        gather = producer_of(value, ("Gather",), node)
        found = NoMatch("") if gather is None else places_of(gather)
        if isinstance(found, NoMatch) or found[1] != axis or found[3] != 1 or not found[2]:
            return None
        return found[0], list(found[2])


RULES = (GatherWithAxis(), JoinGathers())
