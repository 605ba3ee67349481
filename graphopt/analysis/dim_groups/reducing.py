"""Reductions and selections: what is reduced or ranked is frozen, the other axes are followed."""

from __future__ import annotations

from graphopt.analysis.dim_groups.extents import ONE
from graphopt.analysis.dim_groups.following import Axes, Following, RoleFunction
from graphopt.ir import Node

__all__ = ["FUNCTIONS"]


def _reduced(node: Node, follow: Following, x: Axes, axes: set[int], why: str) -> Axes:
    for axis in axes:
        follow.freeze(x[axis], why, node)
    keep = bool(node.int_attr("keepdims", 1))
    return [ONE if axis in axes else extent for axis, extent in enumerate(x) if keep or axis not in axes]


def _reduce(node: Node, follow: Following) -> None:
    x = follow.axes(node.input_at(0))
    if x is None:
        return
    stated = node.ints_attr("axes") if "axes" in node.attributes else follow.numbers(node.input_at(1))
    if stated is None and node.input_at(1) is not None:
        return
    if not stated and node.int_attr("noop_with_empty_axes", 0):
        follow.give(node.outputs[0], x)
        return
    axes = {axis % len(x) for axis in stated} if stated else set(range(len(x)))
    follow.give(node.outputs[0], _reduced(node, follow, x, axes, "it is reduced"))


def _arg(node: Node, follow: Following) -> None:
    x = follow.axes(node.input_at(0))
    if x:
        axes = {node.int_attr("axis", 0) % len(x)}
        follow.give(node.outputs[0], _reduced(node, follow, x, axes, "places in it are given out"))


def _top_k(node: Node, follow: Following) -> None:
    x, shape = follow.axes(node.input_at(0)), node.outputs[0].shape
    if not x or shape is None or len(shape) != len(x):
        return
    axis = node.int_attr("axis", -1) % len(x)
    follow.freeze(x[axis], "places in it are given out", node)
    found = [*x[:axis], follow.fixed(shape[axis], "places in it are given out", node), *x[axis + 1 :]]
    for output in node.outputs:
        follow.give(output, found)


_REDUCTIONS = (
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare"
)

FUNCTIONS: dict[str, RoleFunction] = {
    **dict.fromkeys(_REDUCTIONS.split(), _reduce),
    **dict.fromkeys(("ArgMax", "ArgMin"), _arg),
    "TopK": _top_k,
}
