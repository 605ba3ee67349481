"""Products of matrices, and Einsum."""

from __future__ import annotations

from collections.abc import Sequence

from graphopt.analysis.shape_inference.broadcasting import broadcast_dims, broadcast_shapes
from graphopt.analysis.shape_inference.facts import Facts, ShapeFunction, dtype_at, shape_at, tensor
from graphopt.ir import Dim, DType, Node, Shape, Type

__all__ = ["FUNCTIONS", "multiplied"]


def multiplied(a: Shape | None, b: Shape | None) -> Shape | None:
    """The shape of a product of stacks of matrices, as numpy's ``matmul`` has it."""
    if not a or not b:
        return None
    if len(a) == 1 or len(b) == 1:
        lead = b[:-2] if len(a) == 1 else a[:-2]
        rows = a[-2:-1] if len(a) > 1 else ()
        columns = b[-1:] if len(b) > 1 else ()
        return (*lead, *rows, *columns)
    batch = a[:-2] if a[:-2] == b[:-2] else broadcast_shapes([a[:-2], b[:-2]])
    return None if batch is None else (*batch, a[-2], b[-1])


def _matmul(node: Node, facts: Facts) -> Sequence[Type | None]:
    return (tensor(dtype_at(node, 0), multiplied(shape_at(node, facts, 0), shape_at(node, facts, 1))),)


def _matmul_integer(node: Node, facts: Facts) -> Sequence[Type | None]:
    return (tensor(DType.INT32, multiplied(shape_at(node, facts, 0), shape_at(node, facts, 1))),)


def _qlinear_matmul(node: Node, facts: Facts) -> Sequence[Type | None]:
    dtype = dtype_at(node, 7) or dtype_at(node, 0)
    return (tensor(dtype, multiplied(shape_at(node, facts, 0), shape_at(node, facts, 3))),)


def _gemm(node: Node, facts: Facts) -> Sequence[Type | None]:
    rows = _side(node, shape_at(node, facts, 0), "transA", 0)
    columns = _side(node, shape_at(node, facts, 1), "transB", 1)
    return (tensor(dtype_at(node, 0), (rows, columns)),)


def _side(node: Node, shape: Shape | None, attribute: str, axis: int) -> Dim:
    if shape is None or len(shape) != 2:
        return None
    swapped = node.attributes.get(attribute)
    return shape[1 - axis if swapped is not None and swapped.value else axis]


def _einsum(node: Node, facts: Facts) -> Sequence[Type | None]:
    """Each letter is a size; an ellipsis stands for any number of axes, which broadcast."""
    dtype = dtype_at(node, 0)
    left, arrow, right = node.str_attr("equation").replace(" ", "").partition("->")
    terms = left.split(",")
    sizes: dict[str, Dim] = {}
    around: Shape | None = ()
    if len(terms) != len(node.inputs):
        return (tensor(dtype, None),)
    for term, value in zip(terms, node.inputs, strict=True):
        shape = facts.shape(value)
        first, dots, last = term.partition("...")
        letters = first + last
        if dots:
            between = None if shape is None else shape[len(first) : len(shape) - len(last)]
            around = None if around is None or between is None else broadcast_shapes([around, between])
            shape = None if shape is None else shape[: len(first)] + shape[len(shape) - len(last) :]
        if shape is None or len(shape) != len(letters):
            shape = (None,) * len(letters)
        for letter, dim in zip(letters, shape, strict=True):
            sizes[letter] = broadcast_dims(sizes[letter], dim) if letter in sizes else dim
    if not arrow:
        once = sorted(letter for letter in sizes if left.count(letter) == 1)
        right = ("..." if "..." in left else "") + "".join(once)
    before, dots, after = right.partition("...")
    if any(letter not in sizes for letter in before + after) or (dots and around is None):
        return (tensor(dtype, None),)
    middle = around if dots and around is not None else ()
    return (tensor(dtype, (*(sizes[item] for item in before), *middle, *(sizes[item] for item in after))),)


def _determinant(node: Node, facts: Facts) -> Sequence[Type | None]:
    shape = shape_at(node, facts, 0)
    return (tensor(dtype_at(node, 0), None if shape is None or len(shape) < 2 else shape[:-2]),)


FUNCTIONS: dict[str, ShapeFunction] = {
    "MatMul": _matmul,
    "MatMulInteger": _matmul_integer,
    "QLinearMatMul": _qlinear_matmul,
    "Gemm": _gemm,
    "Einsum": _einsum,
    "Det": _determinant,
}
