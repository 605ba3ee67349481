"""Integer tensors whose elements follow from their places: positions, rows and columns of masks, indices computed from both.

An element at place ``p`` is ``start + sum(step[k] * p[k])``. Start, steps and sizes may be expressions over the model's dynamic sizes, so
that the indices of all positions of a sequence are seen as that whatever its length. Exact; what is not of this form is not followed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from graphopt.analysis.shape_values import ShapeValues
from graphopt.ir import Constant, DType, Node, Shape, Value, constant_of
from graphopt.ir.dims import KnownDim

__all__ = ["IndexGrid", "IndexGrids"]

_INTEGERS = frozenset({DType.INT64, DType.INT32})
_MOST_ELEMENTS = 4096
_MAX_DEPTH = 32


@dataclass(frozen=True, slots=True)
class IndexGrid:
    """How an element follows from its place.

    Attributes:
        shape: of the tensor.
        start: the first element.
        steps: how much the element grows along each axis; 0 along axes of size 1.
    """

    shape: Shape
    start: KnownDim
    steps: tuple[KnownDim, ...]

    @property
    def wide(self) -> tuple[int, ...]:
        """The axes that may have more than one element."""
        return tuple(axis for axis, size in enumerate(self.shape) if size != 1)


class IndexGrids:
    """Finds the form of integer tensors.

    Args:
        values: follows numbers and sizes.
    """

    def __init__(self, values: ShapeValues) -> None:
        self._values = values

    def of(self, value: Value | None, depth: int = 0) -> IndexGrid | None:
        """The form of a tensor, ``None`` if it has none that is seen."""
        if value is None or value.dtype not in _INTEGERS or depth > _MAX_DEPTH:
            return None
        constant = constant_of(value)
        if constant is not None:
            return _of_constant(constant)
        shape = self._values.shape_of(value)
        if shape is None:
            return None
        known = self._values.of(value)
        if known is not None and len(known.elements) == 1:
            only = known.elements[0]
            return None if only is None else IndexGrid(shape, only, (0,) * len(shape))
        node = value.producer
        follow = None if node is None else _FOLLOWED.get(node.op)
        return None if follow is None or node is None or node.has_references else follow(self, node, shape, depth + 1)

    def _range(self, node: Node, shape: Shape, _depth: int) -> IndexGrid | None:
        start, delta = self._values.of(node.inputs[0] or node.output), self._values.of(node.inputs[2] or node.output)
        if start is None or delta is None or start.elements[0] is None or delta.elements[0] is None:
            return None
        return IndexGrid(shape, start.elements[0], (0 if shape[0] == 1 else delta.elements[0],))

    def _same(self, node: Node, _shape: Shape, depth: int) -> IndexGrid | None:
        return self.of(node.inputs[0], depth)

    def _unit_axes(self, node: Node, shape: Shape, depth: int) -> IndexGrid | None:
        """Unsqueeze, Squeeze and such a Reshape: the wide axes stay in their order."""
        found = self.of(node.inputs[0], depth)
        if (
            found is None
            or None in shape
            or [found.shape[axis] for axis in found.wide] != [dim for dim in shape if dim != 1]
        ):
            return None
        steps = iter([found.steps[axis] for axis in found.wide])
        return IndexGrid(shape, found.start, tuple(0 if dim == 1 else next(steps) for dim in shape))

    def _expand(self, node: Node, shape: Shape, depth: int) -> IndexGrid | None:
        found = self.of(node.inputs[0], depth)
        return None if found is None else _spread(found, shape)

    def _sum(self, node: Node, shape: Shape, depth: int) -> IndexGrid | None:
        both = self._operands(node, shape, depth)
        if both is None:
            return None
        a, b = both
        return IndexGrid(shape, a.start + b.start, tuple(x + y for x, y in zip(a.steps, b.steps, strict=True)))

    def _difference(self, node: Node, shape: Shape, depth: int) -> IndexGrid | None:
        both = self._operands(node, shape, depth)
        if both is None:
            return None
        a, b = both
        return IndexGrid(shape, a.start - b.start, tuple(x - y for x, y in zip(a.steps, b.steps, strict=True)))

    def _product(self, node: Node, shape: Shape, depth: int) -> IndexGrid | None:
        both = self._operands(node, shape, depth)
        if both is None:
            return None
        a, b = both if not any(both[1].steps) else (both[1], both[0])
        return None if any(b.steps) else IndexGrid(shape, a.start * b.start, tuple(step * b.start for step in a.steps))

    def _operands(self, node: Node, shape: Shape, depth: int) -> tuple[IndexGrid, IndexGrid] | None:
        found = [self.of(value, depth) for value in node.inputs]
        if len(found) != 2 or found[0] is None or found[1] is None:
            return None
        a, b = _spread(found[0], shape), _spread(found[1], shape)
        return None if a is None or b is None else (a, b)


def _of_constant(constant: Constant) -> IndexGrid | None:
    if constant.is_sparse or constant.dtype not in _INTEGERS or not 0 < constant.size <= _MOST_ELEMENTS:
        return None
    array = constant.numpy().astype(np.int64)
    start = int(array.reshape(-1)[0])
    steps = []
    expected = np.full(array.shape, start, np.int64)
    for axis, size in enumerate(array.shape):
        second = tuple(int(place == axis) for place in range(array.ndim))
        steps.append(int(array[second]) - start if size > 1 else 0)
        expected = expected + steps[-1] * np.arange(size).reshape([-1 if k == axis else 1 for k in range(array.ndim)])
    return IndexGrid(array.shape, start, tuple(steps)) if np.array_equal(array, expected) else None


def _spread(found: IndexGrid, shape: Shape) -> IndexGrid | None:
    """A tensor broadcast to a shape: nothing grows along the axes that it is repeated on."""
    lead = len(shape) - len(found.shape)
    if lead < 0 or None in shape:
        return None
    steps: list[KnownDim] = [0] * lead
    for mine, step, wanted in zip(found.shape, found.steps, shape[lead:], strict=True):
        if mine not in (1, wanted):
            return None
        steps.append(step)
    return IndexGrid(shape, found.start, tuple(steps))


_Follow = Callable[[IndexGrids, Node, Shape, int], "IndexGrid | None"]

_FOLLOWED: dict[str, _Follow] = {
    "Range": IndexGrids._range,
    "Identity": IndexGrids._same,
    "Cast": IndexGrids._same,
    "Unsqueeze": IndexGrids._unit_axes,
    "Squeeze": IndexGrids._unit_axes,
    "Reshape": IndexGrids._unit_axes,
    "Expand": IndexGrids._expand,
    "Add": IndexGrids._sum,
    "Sub": IndexGrids._difference,
    "Mul": IndexGrids._product,
}
