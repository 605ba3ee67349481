"""Lets reductions keep the axes that come back behind them, and drop those that go.

``Unsqueeze(Reduce*[keepdims=0](x)) -> Reduce*[keepdims=1](x)`` where all reduced axes come back, by Reshape too, and
``Squeeze(Reduce*[keepdims=1](x)) -> Reduce*[keepdims=0](x)`` where all of them go. ArgMax and ArgMin likewise. Exact. Source:
https://onnx.ai/onnx/operators/onnx__ReduceSum.html
"""

from __future__ import annotations

from typing import ClassVar, Final

from graphopt.ir import Node
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.broadcasting import same_shape
from graphopt.transforms.operands import ints_operand, normalize_axes

__all__ = ["RULES"]

_REDUCTIONS: Final = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
    "ReduceSumSquare", "ArgMax", "ArgMin",
)  # fmt: skip
_X = any_("x")
_AXES = const("axes", equal_to=1)


def _reduced_axes(node: Node) -> tuple[int, ...] | NoMatch:
    """The axes that a reduction reduces, counted from the front, ascending."""
    x = node.inputs[0]
    rank = None if x is None else x.rank
    if rank is None:
        return NoMatch("the rank of what is reduced is not known")
    if node.op in ("ArgMax", "ArgMin"):
        axes: tuple[int, ...] | NoMatch | None = (node.int_attr("axis", 0),)
    else:
        axes = ints_operand(node, "axes", 1)
    if not isinstance(axes, tuple) or not axes:
        return NoMatch("no axes are stated") if not isinstance(axes, NoMatch) else axes
    found = normalize_axes(axes, rank)
    return found if isinstance(found, NoMatch) else tuple(sorted(found))


class MoveAxesIntoReduction(RewritePattern):
    """Unsqueeze(ReduceSum[keepdims=0](x)) -> ReduceSum[keepdims=1](x), Squeeze(ReduceSum[keepdims=1](x)) -> ReduceSum[keepdims=0](x)."""

    name: ClassVar[str] = "move-axes-into-reduction"
    roots: ClassVar[tuple[str, ...]] = ("Unsqueeze", "Squeeze", "Reshape")
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Squeeze(op["ReduceSum", "ReduceMax"](_X, _AXES, keepdims=1), _AXES),
        op.Unsqueeze(op["ReduceSum", "ReduceMean"](_X, _AXES, keepdims=0), _AXES),
        op.Unsqueeze(op["ReduceMax", "ReduceMean"](_X, axes=(1,), keepdims=0), axes=(1,)),
        op.Squeeze(op.ArgMax(_X, axis=1, keepdims=1), _AXES),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """All reduced axes, and no others."""
        given = node.input_at(0)
        reduction = None if given is None else given.producer
        if given is None or reduction is None or reduction.op not in _REDUCTIONS or reduction.has_references:
            return NoMatch("the input is not from a reduction")
        if not given.has_single_use or reduction.graph is not node.graph:
            return NoMatch("%r has other users", given.name)
        kept, wanted = reduction.attr("keepdims", 1), 0 if node.op == "Squeeze" else 1
        if kept not in (0, 1) or kept == wanted:
            return NoMatch("keepdims is %s", kept)
        axes = _reduced_axes(reduction)
        if isinstance(axes, NoMatch):
            return axes
        reason = _other_axes(node, reduction, axes)
        if reason is not None:
            return reason
        attributes: dict[str, object] = {**reduction.attributes, "keepdims": wanted}
        rw.matched = (node, reduction)
        return rw.new_node(reduction.op, reduction.inputs, attributes=attributes, name=reduction.name).output


def _other_axes(node: Node, reduction: Node, axes: tuple[int, ...]) -> NoMatch | None:
    """Why the axes of a node are not those that are reduced, ``None`` when they are."""
    x = reduction.inputs[0]
    shape = None if x is None else x.shape
    if shape is None:
        return NoMatch("the shape of what is reduced is not known")
    if node.op == "Reshape":
        wanted = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
        return None if same_shape(wanted, node.output.shape) else NoMatch("the shape is not that with the reduced axes")
    stated = ints_operand(node, "axes", 1)
    if not isinstance(stated, tuple):
        return NoMatch("axes are not constant")
    found = normalize_axes(stated, len(shape))
    if isinstance(found, NoMatch):
        return found
    return None if tuple(sorted(found)) == axes else NoMatch("axes are %s, those that are reduced are %s", found, axes)


RULES = (MoveAxesIntoReduction(),)
