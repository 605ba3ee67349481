"""Reads sums of products with constant matrices, however they are spelled: ``x1 @ W1 + x2 @ W2 + ... + b``.

MatMul, Gemm and Add, parts of their columns by Split or Slice, a product with a Concat along the last axis (rows of the matrix for each
part), and elements that a Gather takes of a sum over all of a sequence (the sum of that element). Nothing is computed until somebody
asks for numbers: two sums of the same constants are known to be equal by their keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from graphopt.ir import Array, Constant, Node, Value, integer_of
from graphopt.rewriting import NoMatch
from graphopt.transforms.operands import normalize_axes
from graphopt.transforms.slice_ranges import read_ranges

__all__ = ["Affine", "Matrix", "Row", "Source", "part_of", "read_affine", "taken"]

_MOST_STEPS = 24


@dataclass(frozen=True, slots=True)
class Source:
    """A tensor, or its element at ``index`` along ``axis``, without that axis.

    Attributes:
        value: the tensor.
        axis: ``None`` for all of it.
        index: of the element.
        element: the element, where it stands in the graph.
    """

    value: Value
    axis: int | None = None
    index: int = 0
    element: Value | None = field(default=None, compare=False)

    @property
    def whole(self) -> Value | None:
        """The value in the graph that this is, ``None`` for an element that is taken of a sum only."""
        return self.value if self.axis is None else self.element


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows and columns of a constant matrix.

    Attributes:
        constant: [rows, columns], or the other way round if it is ``transposed``.
        transposed: whether it is.
        rows: first row, and the one behind the last.
        columns: first column, and the one behind the last.
    """

    constant: Constant
    transposed: bool
    rows: tuple[int, int]
    columns: tuple[int, int]

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for equal numbers of equal constants."""
        return (self.constant.digest(), self.transposed, self.rows, self.columns)

    def numbers(self) -> Array:
        """[rows, columns]."""
        array = self.constant.numpy()
        found: Array = (array.T if self.transposed else array)[slice(*self.rows), slice(*self.columns)]
        return found


@dataclass(frozen=True, slots=True)
class Row:
    """Columns of a constant that is the same in each row."""

    constant: Constant
    columns: tuple[int, int]

    @property
    def key(self) -> tuple[bytes, tuple[int, int]]:
        """Equal for equal numbers of equal constants."""
        return self.constant.digest(), self.columns

    def numbers(self) -> Array:
        """[columns]."""
        array = self.constant.numpy()
        return array.reshape(-1, array.shape[-1])[0, slice(*self.columns)]


@dataclass(frozen=True, slots=True)
class Affine:
    """A sum of products and rows.

    Attributes:
        width: columns.
        terms: matrices by what is multiplied with them, ``None`` where that is added as it is.
        rows: constants that are added to each row.
        nodes: the nodes that compute it, of one step only.
        shared: nodes that compute it for all steps at once.
    """

    width: int
    terms: Mapping[Source, Matrix | None] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    nodes: frozenset[Node] = frozenset()
    shared: frozenset[Node] = frozenset()

    def bias(self) -> Array:
        """float64 [width]: the sum of the rows."""
        found = np.zeros(self.width)
        for row in self.rows:
            found = found + row.numbers().astype(np.float64)
        return found

    def columns(self, columns: tuple[int, int], node: Node) -> Affine | None:
        """Some columns, which ``node`` takes; ``None`` if something is added as it is."""
        start, end = columns
        terms: dict[Source, Matrix | None] = {}
        for source, matrix in self.terms.items():
            if matrix is None:
                return None
            first = matrix.columns[0]
            terms[source] = replace(matrix, columns=(first + start, first + end))
        rows = tuple(replace(row, columns=(row.columns[0] + start, row.columns[0] + end)) for row in self.rows)
        return Affine(end - start, terms, rows, self.nodes | {node}, self.shared)

    @property
    def row_keys(self) -> tuple[tuple[bytes, tuple[int, int]], ...]:
        """Equal for sums of the same rows."""
        return tuple(sorted(row.key for row in self.rows))


def read_affine(value: Value, steps: int = 0) -> Affine | None:
    """What a tensor is a sum of; itself, added as it is, where it is no sum. ``None`` if its columns are not counted."""
    shape = value.shape
    if not shape or not isinstance(shape[-1], int) or steps > _MOST_STEPS:
        return None
    width = shape[-1]
    if value.is_constant and value.const is not None:
        return _constant_row(value.const, width)
    node = value.producer
    found = None if node is None or node.has_references else _read(node, value, steps)
    if found is None:
        return Affine(width, {Source(value): None})
    return found if found.width == width else None


def _constant_row(constant: Constant, width: int) -> Affine | None:
    array = constant.numpy()
    rows = array.reshape(-1, width) if array.ndim and array.shape[-1] == width and width else None
    if rows is None or not len(rows) or not (rows[1:] == rows[:1]).all():
        return None
    return Affine(width, rows=(Row(constant, (0, width)),))


def _read(node: Node, value: Value, steps: int) -> Affine | None:
    match node.op:
        case "Add":
            left, right = (None if item is None else read_affine(item, steps + 1) for item in node.inputs)
            return None if left is None or right is None else _sum(left, right, node)
        case "MatMul":
            return _product(node, transposed=False)
        case "Gemm":
            return _gemm(node, steps)
        case "Gather":
            return _element(node, steps)
        case "Split" | "Slice":
            columns = part_of(value)
            inner = None if columns is None or node.inputs[0] is None else read_affine(node.inputs[0], steps + 1)
            return None if columns is None or inner is None else inner.columns(columns, node)
        case _:
            return None


def _sum(left: Affine, right: Affine, node: Node) -> Affine | None:
    if left.width != right.width or left.terms.keys() & right.terms.keys():
        return None
    return Affine(
        left.width,
        {**left.terms, **right.terms},
        left.rows + right.rows,
        left.nodes | right.nodes | {node},
        left.shared | right.shared,
    )


def _product(node: Node, *, transposed: bool) -> Affine | None:
    """The product with a constant matrix; each part of a Concat has rows of its own."""
    x, weight = node.inputs[0], node.inputs[1]
    if x is None or weight is None or not weight.is_constant or weight.const is None or weight.const.ndim != 2:
        return None
    if (x.rank or 0) < 2:
        return None
    rows, columns = weight.const.shape[::-1] if transposed else weight.const.shape
    parts = [x]
    joined = x.producer
    nodes = {node}
    if joined is not None and joined.op == "Concat" and joined.int_attr("axis", 0) in (-1, (x.rank or 0) - 1):
        parts = [part for part in joined.inputs if part is not None]
        nodes.add(joined)
    terms: dict[Source, Matrix | None] = {}
    start = 0
    for part in parts:
        size = part.shape[-1] if part.shape else None
        source = taken(part)
        if not isinstance(size, int) or source in terms:
            return None
        terms[source] = Matrix(weight.const, transposed, (start, start + size), (0, columns))
        start += size
    return Affine(columns, terms, nodes=frozenset(nodes)) if start == rows else None


def _gemm(node: Node, steps: int) -> Affine | None:
    if node.int_attr("transA", 0) or node.float_attr("alpha", 1.0) != 1:
        return None
    found = _product(node, transposed=bool(node.int_attr("transB", 0)))
    added = node.input_at(2)
    if found is None or added is None:
        return found
    more = read_affine(added, steps + 1) if node.float_attr("beta", 1.0) == 1 else None
    return None if more is None else _sum(found, more, node)


def taken(value: Value) -> Source:
    """A tensor as an element of a sequence, if a Gather takes it of one."""
    node = value.producer
    if node is None or node.op != "Gather" or node.has_references:
        return Source(value)
    place = _place(node)
    return Source(value) if place is None or node.inputs[0] is None else Source(node.inputs[0], *place, value)


def _place(gather: Node) -> tuple[int, int] | None:
    """Axis, not the last one, and index of the one element that a Gather takes."""
    x, index = gather.inputs[0], integer_of(gather.inputs[1])
    if x is None or x.shape is None or index is None or gather.inputs[1] is None or gather.inputs[1].rank != 0:
        return None
    axes = normalize_axes((gather.int_attr("axis", 0),), len(x.shape))
    if isinstance(axes, NoMatch) or axes[0] == len(x.shape) - 1:
        return None
    size = x.shape[axes[0]]
    if index < 0:
        return (axes[0], index + size) if isinstance(size, int) else None
    return axes[0], index


def _element(node: Node, steps: int) -> Affine | None:
    """The element of a sum over a sequence: the sum of that element of each term."""
    x, place = node.inputs[0], _place(node)
    inner = None if x is None or place is None else read_affine(x, steps + 1)
    if x is None or place is None or inner is None:
        return None
    terms: dict[Source, Matrix | None] = {}
    for source, matrix in inner.terms.items():
        if source.axis is not None or source.value.rank != x.rank:
            return None
        terms[Source(source.value, *place)] = matrix
    return Affine(inner.width, terms, inner.rows, frozenset({node}), inner.shared | inner.nodes)


def part_of(value: Value) -> tuple[int, int] | None:
    """The columns of its operand that a Split or Slice gives as ``value``; ``None`` for other nodes, axes and steps."""
    node = value.producer
    x = None if node is None else node.inputs[0]
    if node is None or node.has_references or x is None or not x.shape or not isinstance(x.shape[-1], int):
        return None
    rank, size = len(x.shape), x.shape[-1]
    if node.op == "Split" and node.int_attr("axis", 0) in (-1, rank - 1):
        widths = [part.shape[-1] if part.shape else None for part in node.outputs]
        known = [width for width in widths if isinstance(width, int)]
        start = sum(known[: value.index])
        return (start, start + known[value.index]) if len(known) == len(widths) and sum(known) == size else None
    ranges = read_ranges(node) if node.op == "Slice" else None
    if ranges is None or isinstance(ranges, NoMatch) or ranges.axes not in ((-1,), (rank - 1,)) or ranges.steps != (1,):
        return None
    start, end, _ = slice(ranges.starts[0], ranges.ends[0]).indices(size)
    return (start, end) if start < end else None
