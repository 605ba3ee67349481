"""Makes tensors smaller: sizes that inputs, weights and shapes share are cut down together, dynamic ones become numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from graphopt.ir import (
    Array,
    Attribute,
    AttributeKind,
    Constant,
    Graph,
    SymbolicDim,
    TensorType,
    Type,
    Value,
    make_attribute,
    symbols_of,
)
from graphopt.runtime.base import Datum, Feeds
from graphopt.verify.reduction.case import Case
from graphopt.verify.reduction.chunks import simplify
from graphopt.verify.reduction.editing import retype
from graphopt.verify.reduction.search import Search

__all__ = ["FixSizes", "ShrinkSizes"]

#: Integer constants of at most this many elements may be shapes, and have sizes in them.
_SHAPE_ELEMENTS: Final = 16
_MOST_SIZES: Final = 32


@dataclass(frozen=True)
class FixSizes:
    """Put numbers in the place of dynamic sizes: those that the inputs have."""

    name: ClassVar[str] = "fix dynamic sizes"

    def shrink(self, search: Search) -> None:
        """All symbols at once, or else in smaller groups."""
        sizes = _known_sizes(search.case)
        simplify(
            sorted(sizes), lambda names: search.attempt(_fixed(search.case, {name: sizes[name] for name in names}))
        )


def _known_sizes(case: Case) -> dict[str, int]:
    """What dynamic sizes of inputs are, where that is the same in all samples."""
    found: dict[str, set[int]] = {}
    for value in case.model.graph.inputs:
        for axis, dim in enumerate(value.shape or ()):
            if isinstance(dim, SymbolicDim) and str(dim) in symbols_of((dim,)):
                for feeds in case.samples:
                    data = feeds.get(value.name)
                    if isinstance(data, np.ndarray):
                        found.setdefault(str(dim), set()).add(data.shape[axis])
    return {name: sizes.pop() for name, sizes in found.items() if len(sizes) == 1}


def _fixed(case: Case, sizes: dict[str, int]) -> Case:
    candidate = case.copy()

    def numbers(value: Value) -> None:
        if isinstance(value.type, TensorType) and value.type.shape is not None:
            shape = tuple(sizes.get(str(dim), dim) if isinstance(dim, SymbolicDim) else dim for dim in value.type.shape)
            value.type = value.type.with_shape(shape)

    for value in candidate.model.graph.inputs:
        numbers(value)
    retype(candidate.model)
    return candidate


@dataclass(frozen=True)
class ShrinkSizes:
    """Cut sizes down to 1, 2 or half: everywhere where the same number stands, or along single axes of inputs and weights."""

    name: ClassVar[str] = "shrink sizes"

    def shrink(self, search: Search) -> None:
        """Large sizes first."""
        tried: set[int] = set()
        while left := [size for size in _sizes(search.case) if size not in tried]:
            tried.add(left[0])
            _shrink_one(search, left[0])
        for name in [
            value.name for value in (*search.case.model.graph.inputs, *search.case.model.graph.initializers())
        ]:
            _shrink_axes(search, name)


def _shrink_one(search: Search, size: int) -> None:
    """Take the smallest number in the place of a size that will do."""
    for smaller in _smaller(size):
        for attributes in (False, True):
            if search.attempt(_resized(search.case, size, smaller, attributes=attributes)):
                return


def _smaller(size: int) -> list[int]:
    return sorted({smaller for smaller in (1, 2, size // 2) if smaller < size})


def _sizes(case: Case) -> list[int]:
    """Sizes above 1 of inputs and weights, the largest first."""
    found: Counter[int] = Counter()
    for value in case.model.graph.inputs:
        found.update(dim for dim in value.shape or () if isinstance(dim, int))
    for value in case.model.graph.initializers():
        if value.const is not None and not value.const.is_sparse:
            found.update(value.const.shape)
    for feeds in case.samples:
        for data in feeds.values():
            if isinstance(data, np.ndarray):
                found.update(data.shape)
    return sorted((size for size in found if size > 1), reverse=True)[:_MOST_SIZES]


def _resized(case: Case, size: int, smaller: int, *, attributes: bool) -> Case:
    """A case with another size wherever there is ``size`` now."""

    def cut(array: Array) -> Array:
        return array[tuple(slice(smaller) if length == size else slice(None) for length in array.shape)]

    candidate = case.copy()
    model = candidate.model
    for graph in model.graphs():
        for value in graph.initializers():
            _replace_constant(value, lambda array: _other_numbers(cut(array), size, smaller))
        if attributes:
            _change_attributes(graph, size, smaller)
    for value in model.graph.inputs:
        value.type = _with_size(value.type, size, smaller)
    retype(model)
    return candidate.with_samples(tuple(_changed(feeds, cut) for feeds in case.samples))


def _other_numbers(array: Array, size: int, smaller: int) -> Array:
    """Sizes that stand as numbers in what may be a shape."""
    if array.dtype.kind in "iu" and array.ndim < 2 and array.size <= _SHAPE_ELEMENTS:
        return np.where(array == size, np.asarray(smaller, array.dtype), array)
    return array


def _replace_constant(value: Value, change: Callable[[Array], Array]) -> None:
    constant = value.const
    if constant is None or constant.is_sparse:
        return
    old = constant.numpy()
    new = change(old)
    if new is old or (new.shape == old.shape and new.dtype != object and np.array_equal(new, old)):
        return
    value.const = Constant(np.ascontiguousarray(new) if new.ndim else np.array(new))
    value.type = value.const.type


def _with_size(kind: Type | None, size: int, smaller: int) -> Type | None:
    if not isinstance(kind, TensorType) or kind.shape is None:
        return kind
    return kind.with_shape(tuple(smaller if dim == size else dim for dim in kind.shape))


def _change_attributes(graph: Graph, size: int, smaller: int) -> None:
    for node in graph.nodes:
        for name, attribute in list(node.attributes.items()):
            changed = _attribute(attribute, size, smaller)
            if changed is not None:
                node.set_attribute(name, changed)


def _attribute(attribute: Attribute, size: int, smaller: int) -> Attribute | None:
    value = attribute.value
    if attribute.ref:
        return None
    if attribute.kind is AttributeKind.INT and value == size:
        return make_attribute(smaller, AttributeKind.INT)
    if attribute.kind is AttributeKind.INTS and isinstance(value, tuple) and size in value:
        return make_attribute(tuple(smaller if item == size else item for item in value), AttributeKind.INTS)
    return None


def _changed(feeds: Feeds, change: Callable[[Array], Array]) -> dict[str, Datum]:
    return {name: change(data) if isinstance(data, np.ndarray) else data for name, data in feeds.items()}


def _shrink_axes(search: Search, name: str) -> None:
    """Cut single axes of one input or weight down to 1."""
    axis = 0
    while True:
        shape = _shape(search.case, name)
        if shape is None or axis >= len(shape):
            return
        if shape[axis] > 1:
            search.attempt(_with_axis(search.case, name, axis))
        axis += 1


def _shape(case: Case, name: str) -> tuple[int, ...] | None:
    """The shape that an input or weight has; the largest of all samples for an input."""
    for value in case.model.graph.initializers():
        if value.name == name and value.const is not None and not value.const.is_sparse and not value.is_input:
            return value.const.shape
    shapes = [data.shape for feeds in case.samples if isinstance(data := feeds.get(name), np.ndarray)]
    if shapes and len({len(shape) for shape in shapes}) == 1:
        return tuple(max(sizes) for sizes in zip(*shapes, strict=True))
    return None


def _with_axis(case: Case, name: str, axis: int) -> Case:
    candidate = case.copy()
    graph = candidate.model.graph

    def cut(array: Array) -> Array:
        return array[(slice(None),) * axis + (slice(1),)]

    for value in graph.initializers():
        if value.name == name:
            _replace_constant(value, cut)
    for value in graph.inputs:
        kind = value.type
        if value.name == name and isinstance(kind, TensorType) and kind.shape is not None:
            dims = list(kind.shape)
            dims[axis] = 1 if isinstance(dims[axis], int) else dims[axis]
            value.type = kind.with_shape(tuple(dims))
    retype(candidate.model)
    samples = tuple(
        {key: cut(data) if key == name and isinstance(data, np.ndarray) else data for key, data in feeds.items()}
        for feeds in case.samples
    )
    return candidate.with_samples(samples)
