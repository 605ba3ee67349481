"""Removes Concat and Split nodes that undo each other or do nothing, and flattens nested Concat nodes.

``Concat[a](…, Concat[a](y, z), …) -> Concat[a](…, y, z, …)`` from the outermost one, so that a chain of any length is one rewrite;
inputs without elements along the axis are left out; ``Concat[a](all of Split[a](x)) -> x``; ``Split[a](Concat[a](y, z)) -> y, z`` where the
sizes agree; ``Split(x) -> x`` with one output. Exact.
"""

from __future__ import annotations

from typing import ClassVar

from graphopt.ir import Node, Value
from graphopt.rewriting import Match, NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, op, rest, rewrite
from graphopt.transforms.broadcasting import same_dim

__all__ = ["RULES"]


def _axis(node: Node) -> int:
    """The axis, from the front when the rank is known."""
    axis = node.attr("axis", 0 if node.op == "Split" else None)
    number = axis if isinstance(axis, int) else 1  # Concat before opset 4 has axis 1 by default
    for value in (*node.inputs[:1], *node.outputs):
        if number < 0 and value is not None and value.rank is not None:
            return number + value.rank
    return number


def _absorbed(value: Value | None, node: Node, axis: int) -> Node | None:
    """The Concat along ``axis`` that gives ``value`` to ``node`` alone."""
    inner = None if value is None else value.producer
    if value is None or inner is None or inner.op != "Concat" or not value.has_single_use:
        return None
    return inner if inner.graph is node.graph and not inner.has_references and _axis(inner) == axis else None


class FlattenConcat(RewritePattern):
    """Concat of Concats along one axis -> one Concat."""

    name: ClassVar[str] = "flatten-concat"
    roots: ClassVar[tuple[str, ...]] = ("Concat",)
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (op.Concat(op.Concat(rest("inner")), rest("others")),)

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Collect the inputs of the whole tree below the outermost Concat."""
        axis = _axis(node)
        above = node.output.users[0] if node.output.has_single_use else None
        if above is not None and above.op == "Concat" and _absorbed(node.output, above, _axis(above)) is not None:
            return NoMatch("%r is a part of another Concat", node.output.name)
        found: list[Value | None] = []
        todo: list[Value | None] = list(reversed(node.inputs))
        while todo:
            value = todo.pop()
            inner = _absorbed(value, node, axis)
            if inner is None:
                found.append(value)
            else:
                todo.extend(reversed(inner.inputs))
        kept = [value for value in found if not _is_empty(value, axis, node.output.rank)] or found[:1]
        if len(kept) == len(node.inputs):
            return NoMatch("nothing to flatten or to leave out")
        if len(kept) == 1 and kept[0] is not None:
            return kept[0]
        return rw.new_node("Concat", kept, attributes=dict(node.attributes)).output


def _is_empty(value: Value | None, axis: int, rank: int | None) -> bool:
    """Whether a tensor of the rank of the result has no elements along the axis."""
    shape = None if value is None else value.shape
    return shape is not None and len(shape) == rank and 0 <= axis < len(shape) and shape[axis] == 0


class EliminateConcatOfSplit(RewritePattern):
    """Concat(Split(x)) -> x."""

    name: ClassVar[str] = "eliminate-concat-of-split"
    roots: ClassVar[tuple[str, ...]] = ("Concat",)
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Concat(
            op.Split(any_("x"), rest("sizes"), name="split"), op.Split(any_("x"), rest("sizes"), name="split", output=1)
        ),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """All outputs, in order, along the same axis."""
        first = node.inputs[0].producer if node.inputs and node.inputs[0] is not None else None
        if first is None or first.op != "Split" or first.has_references:
            return NoMatch("the first input is not from Split")
        if list(node.inputs) != list(first.outputs) or _axis(node) != _axis(first):
            return NoMatch("not all outputs of Split in order along its axis")
        return first.inputs[0] or NoMatch("an input is absent")


class EliminateSplitOfConcat(RewritePattern):
    """Split(Concat(y, z)) -> y, z."""

    name: ClassVar[str] = "eliminate-split-of-concat"
    roots: ClassVar[tuple[str, ...]] = ("Split",)
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (op.Split(op.Concat(rest("parts")), rest("sizes")),)

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Sizes along the axis must agree one by one."""
        given = node.input_at(0)
        inner = None if given is None else given.producer
        if inner is None or inner.op != "Concat" or inner.has_references or inner.domain:
            return NoMatch("the input is not from Concat")
        axis = _axis(node)
        if axis != _axis(inner) or axis < 0 or len(inner.inputs) != len(node.outputs):
            return NoMatch("Split and Concat have another axis or number of parts")
        for part, whole in zip(node.outputs, inner.inputs, strict=True):
            if whole is None or whole.shape is None or part.shape is None:
                return NoMatch("a shape is not known")
            if len(part.shape) != len(whole.shape) or not same_dim(part.shape[axis], whole.shape[axis]):
                return NoMatch("part %r has not the size of %r", part.name, whole.name)
        return list(inner.inputs)


@rewrite(op.Split(any_("x"), rest("sizes")))
def eliminate_split(m: Match, rw: Rewriter) -> Replacement:
    """Split(x) -> x with one output."""
    if len(m.root.outputs) != 1:
        return NoMatch("Split has %d outputs", len(m.root.outputs))
    return m["x"]


RULES = (FlattenConcat(), EliminateConcatOfSplit(), EliminateSplitOfConcat(), eliminate_split)
