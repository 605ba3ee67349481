"""Gathers that take each element in its place, found by the form of their indices (:class:`~graphopt.analysis.IndexGrids`).

Exporters that vectorize a mask function write ``mask[b, k]`` for all ``b`` and ``k`` as a gather with the grid of all indices: Range,
Unsqueeze, Expand, arithmetic, GatherND or Gather of the flat mask. Where the indices are those of each element once, in order, the
result is the tensor itself with axes of size 1 put in, and the indices die. Exact, for dynamic and empty axes too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from graphopt.analysis.index_grids import IndexGrid, IndexGrids
from graphopt.ir import Node, Shape, Value, dim_product
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op, rest
from graphopt.transforms.known_shapes import shape_values

__all__ = ["GatherEachElement", "GatherEachPosition"]


def _with_unit_axes(rw: Rewriter, value: Value, axes: Sequence[int]) -> Value:
    if not axes:
        return value
    if (rw.root.opset or 0) < 13:
        return rw.new("Unsqueeze", value, axes=tuple(axes))
    return rw.new("Unsqueeze", value, np.array(axes, np.int64))


def _inserted(have: Shape, wanted: Shape) -> list[int] | None:
    """Where axes of size 1 are put in to make one shape of another, ``None`` if that does not do it."""
    axes: list[int] = []
    place = 0
    for axis, dim in enumerate(wanted):
        if place < len(have) and have[place] == dim:
            place += 1
        elif dim == 1:
            axes.append(axis)
        else:
            return None
    return axes if place == len(have) else None


class GatherEachPosition(RewritePattern):
    """Gather(x, all positions of the axis in order) -> x with axes of size 1; also of a flattened x, by flat positions."""

    name: ClassVar[str] = "gather-each-position"
    roots: ClassVar[tuple[str, ...]] = ("Gather",)
    reach: ClassVar[int] = 1
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Gather(any_("x"), op.Range(const("start"), any_("end"), const("step"))),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Leave the tensor as it is, if each position is taken once and in order."""
        data, indices = node.input_at(0), node.input_at(1)
        if data is None or indices is None or indices.is_constant:
            return NoMatch("the indices are constant")
        values = shape_values(rw)
        have, axis = values.shape_of(data), node.int_attr("axis", 0)
        if have is None or not -len(have) <= axis < len(have):
            return NoMatch("the rank of %r is not known", data.name)
        axis = axis + len(have) if axis < 0 else axis
        grid = IndexGrids(values).of(indices)
        if grid is None or not _counts(grid) or dim_product(grid.shape) != have[axis]:
            return NoMatch("%r are not all positions of axis %d in order", indices.name, axis)
        wanted = have[:axis] + grid.shape + have[axis + 1 :]
        source: Value | None = data
        if len(grid.wide) > 1:
            flat = data.producer
            source = flat.inputs[0] if flat is not None and flat.op in ("Flatten", "Reshape") else None
        shape = None if source is None else values.shape_of(source)
        axes = None if shape is None else _inserted(shape, wanted)
        if source is None or axes is None:
            return NoMatch("%r is not that tensor with axes of size 1", node.output.name)
        return _with_unit_axes(rw, source, axes)


def _counts(grid: IndexGrid) -> bool:
    """Whether the elements are 0, 1, 2 and so on, in the order in which they lie."""
    step: object = 1
    for axis in reversed(grid.wide):
        if grid.steps[axis] != step or grid.shape[axis] is None:
            return False
        step = dim_product((grid.shape[axis], grid.steps[axis]))
    return grid.start == 0 and bool(grid.wide)


class GatherEachElement(RewritePattern):
    """GatherND(x, the indices of each element in order) -> x with axes of size 1."""

    name: ClassVar[str] = "gather-each-element"
    roots: ClassVar[tuple[str, ...]] = ("GatherND",)
    reach: ClassVar[int] = 1
    contexts: ClassVar[tuple[Pattern, ...]] = (op.GatherND(any_("x"), op.Concat(any_("rows"), rest("others"))),)

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Leave the tensor as it is, if each element is taken once and in order."""
        data, indices = node.input_at(0), node.input_at(1)
        if data is None or indices is None or indices.producer is None or node.int_attr("batch_dims", 0):
            return NoMatch("the indices are not computed, or taken for each batch")
        joint = indices.producer
        values = shape_values(rw)
        have, shape = values.shape_of(data), values.shape_of(indices)
        if joint.op != "Concat" or have is None or not shape or joint.attr("axis") not in (-1, len(shape) - 1):
            return NoMatch("the indices are not joined from those of each axis")
        grids = [IndexGrids(values).of(part) for part in joint.inputs]
        if len(grids) != len(have):
            return NoMatch("%d indices for %d axes", len(grids), len(have))
        taken: list[int] = []
        for size, grid in zip(have, grids, strict=True):
            place = None if grid is None or grid.shape != (*shape[:-1], 1) else _axis_of(grid, size)
            if place is None or (taken and place <= taken[-1]):
                return NoMatch("the indices of an axis are not all of its positions")
            taken.append(place)
        around = [axis for axis in range(len(shape) - 1) if axis not in taken]
        if any(shape[axis] != 1 for axis in around):
            return NoMatch("elements are taken several times")
        return _with_unit_axes(rw, data, around)


def _axis_of(grid: IndexGrid, size: object) -> int | None:
    """The axis along which a grid counts the positions of an axis of some size."""
    moving = [axis for axis in grid.wide if grid.steps[axis] != 0]
    if grid.start != 0 or len(moving) != 1:
        return None
    axis = moving[0]
    return axis if grid.steps[axis] == 1 and grid.shape[axis] == size else None
