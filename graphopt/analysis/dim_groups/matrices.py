"""Matrix products: what is contracted by a weight can be removed with it, what two activations contract is frozen."""

from __future__ import annotations

from graphopt.analysis.dim_groups.extents import ONE, Extent
from graphopt.analysis.dim_groups.following import Following, RoleFunction
from graphopt.ir import Node

__all__ = ["FUNCTIONS", "contract"]

_NO_WEIGHT = "it is summed without weights"


def contract(node: Node, follow: Following, sides: tuple[tuple[int, int], tuple[int, int]]) -> None:
    """Two inputs are multiplied and summed over an axis.

    Args:
        node: the product.
        follow: the state.
        sides: position and axis of the left factor, then of the right one.
    """
    values = [node.input_at(position) for position, _axis in sides]
    axes = [follow.axes(value) for value in values]
    extents = [found[axis] for found, (_position, axis) in zip(axes, sides, strict=True) if found is not None]
    follow.unify(extents[0], extents[1], node)
    weights = [follow.is_weight(value) for value in values]
    for value, is_weight, found, (_position, axis) in zip(values, weights, axes, sides, strict=True):
        if is_weight and found is not None:
            follow.role(value, axis, "in", node)
            other = -1 if axis % len(found) == len(found) - 2 else -2
            if len(found) > 1:
                follow.role(value, other, "out", node)
    if not any(weights):
        follow.freeze(extents[0], _NO_WEIGHT, node)


def _matmul(node: Node, follow: Following) -> None:
    a, b = follow.axes(node.input_at(0)), follow.axes(node.input_at(1))
    if not a or not b or node.int_attr("transBatchA", 0) or node.int_attr("transBatchB", 0):
        return
    left, right = bool(node.int_attr("transA", 0)), bool(node.int_attr("transB", 0))
    inner = -2 if left and len(a) > 1 else -1, -1 if right or len(b) == 1 else -2
    contract(node, follow, ((0, inner[0]), (1, inner[1])))
    found = follow.broadcast([a[:-2], b[:-2]], node) if len(a) > 2 or len(b) > 2 else []
    if len(a) > 1:
        found.append(a[-1 if inner[0] == -2 else -2])
    if len(b) > 1:
        found.append(b[-2 if inner[1] == -1 else -1])
    follow.give(node.outputs[0], found)


def _gemm(node: Node, follow: Following) -> None:
    a, b, c = (follow.axes(node.input_at(index)) for index in range(3))
    if a is None or b is None or len(a) != 2 or len(b) != 2:
        return
    left, right = bool(node.int_attr("transA", 0)), bool(node.int_attr("transB", 0))
    contract(node, follow, ((0, 0 if left else 1), (1, 1 if right else 0)))
    found = [a[1 if left else 0], b[0 if right else 1]]
    follow.give(node.outputs[0], found if c is None else follow.broadcast([found, c], node))


def _einsum(node: Node, follow: Following) -> None:
    left, arrow, right = node.str_attr("equation").replace(" ", "").partition("->")
    terms = left.split(",")
    if not arrow or "." in left or len(terms) != len(node.inputs):
        return
    labels: dict[str, Extent] = {}
    for term, value in zip(terms, node.inputs, strict=True):
        axes = follow.axes(value)
        if axes is None or len(axes) != len(term) or len(set(term)) != len(term):
            return
        for label, extent in zip(term, axes, strict=True):
            present = labels.get(label)
            if present is None or present.size == 1:
                labels[label] = extent
            elif extent.size != 1:
                follow.unify(present, extent, node)
    for label, extent in labels.items():
        readers = [index for index, term in enumerate(terms) if label in term]
        weights = [index for index in readers if follow.is_weight(node.input_at(index))]
        if label not in right and (not weights or len(readers) == 1):
            follow.freeze(extent, _NO_WEIGHT, node)
        for index in weights:
            kind = "out" if label in right else "in"
            follow.role(node.input_at(index), terms[index].index(label), kind, node)
    follow.give(node.outputs[0], [labels.get(label, ONE) for label in right])


FUNCTIONS: dict[str, RoleFunction] = {
    **dict.fromkeys(("MatMul", "com.microsoft::FusedMatMul", "com.microsoft::TransposeMatMul"), _matmul),
    **dict.fromkeys(("Gemm", "com.microsoft::FusedGemm"), _gemm),
    "Einsum": _einsum,
}
