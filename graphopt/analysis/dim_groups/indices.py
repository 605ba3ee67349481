"""Which elements of an axis belong to which index of a class, as arrays; the order is that of the axis."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from graphopt.analysis.dim_groups.extents import Extent, Extents, Leaf, Product, Sum

__all__ = ["Mask", "Removal", "kept_mask", "per_leaf", "places_per_leaf", "stands_twice"]

Mask = npt.NDArray[np.bool_]
#: Which indices of leaves are kept; leaves that are not there keep all.
Removal = Mapping[Leaf, Mask]


def kept_mask(extents: Extents, extent: Extent, removal: Removal) -> Mask | None:
    """Which elements of an axis are kept, ``None`` where nothing of it is removed."""
    found = extents.resolve(extent)
    if isinstance(found, Leaf):
        return removal.get(found)
    inner = found.factors if isinstance(found, Product) else found.parts
    masks = [kept_mask(extents, item, removal) for item in inner]
    if all(mask is None for mask in masks):
        return None
    full = [_all(item) if mask is None else mask for item, mask in zip(inner, masks, strict=True)]
    if not isinstance(found, Product):
        return np.concatenate(full)
    product = full[0]
    for mask in full[1:]:
        product = (product[:, None] & mask[None, :]).reshape(-1)
    return product


def _all(extent: Extent) -> Mask:
    assert isinstance(extent.size, int), "what stands beside something that can be removed has a known size"
    return np.ones(extent.size, np.bool_)


def per_leaf(extents: Extents, extent: Extent, numbers: npt.NDArray[np.float64]) -> dict[Leaf, npt.NDArray[np.float64]]:
    """The sum, for each index of each leaf in an axis, of the numbers that belong to it.

    Args:
        extents: what is known of leaves.
        extent: the axis, of a constant.
        numbers: float64 [size of the axis].

    Returns:
        float64 [size of the leaf] for each leaf.
    """
    found = extents.resolve(extent)
    if isinstance(found, Leaf):
        return {found: numbers}
    total: dict[Leaf, npt.NDArray[np.float64]] = {}
    for item, part in _parts(found, numbers):
        for leaf, sums in per_leaf(extents, item, part).items():
            total[leaf] = total[leaf] + sums if leaf in total else sums
    return total


def _parts(found: Product | Sum, numbers: npt.NDArray[np.float64]) -> Iterator[tuple[Extent, npt.NDArray[np.float64]]]:
    """Factors or parts, each with the numbers summed that belong to its indices."""
    if isinstance(found, Product):
        table = numbers.reshape([_size(factor) for factor in found.factors])
        for place, factor in enumerate(found.factors):
            yield factor, table.sum(axis=tuple(axis for axis in range(table.ndim) if axis != place))
        return
    start = 0
    for part in found.parts:
        yield part, numbers[start : start + _size(part)]
        start += _size(part)


def _size(extent: Extent) -> int:
    assert isinstance(extent.size, int), "a constant has known sizes"
    return extent.size


def places_per_leaf(extents: Extents, extent: Extent) -> dict[Leaf, int]:
    """How many elements of an axis go with each index of each leaf in it; sizes that are not known count as 1."""
    found = extents.resolve(extent)
    if isinstance(found, Leaf):
        return {found: 1}
    total: dict[Leaf, int] = {}
    if not isinstance(found, Product):
        for part in found.parts:
            for leaf, count in places_per_leaf(extents, part).items():
                total[leaf] = total.get(leaf, 0) + count
        return total
    sizes = [factor.size if isinstance(factor.size, int) else 1 for factor in found.factors]
    for place, factor in enumerate(found.factors):
        others = math.prod(sizes[:place] + sizes[place + 1 :])
        for leaf, count in places_per_leaf(extents, factor).items():
            total.setdefault(leaf, count * others)
    return total


def stands_twice(extents: Extents, extent: Extent) -> set[Leaf]:
    """Leaves that are more than one factor of a product, as in a flattened outer product: its indices can't go one by one."""
    found = extents.resolve(extent)
    if isinstance(found, Leaf):
        return set()
    if not isinstance(found, Product):
        return set().union(*(stands_twice(extents, part) for part in found.parts))
    twice: set[Leaf] = set()
    seen: set[Leaf] = set()
    for factor in found.factors:
        twice |= stands_twice(extents, factor)
        mine = set(extents.leaves(factor))
        twice |= mine & seen
        seen |= mine
    return twice
