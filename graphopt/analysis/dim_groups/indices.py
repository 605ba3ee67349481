"""Which elements of an axis belong to which index of a class, as arrays; the order is that of the axis."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from graphopt.analysis.dim_groups.extents import Extent, Extents, Leaf, Product

__all__ = ["Mask", "Removal", "kept_mask", "per_index", "places_per_index", "stands_twice"]

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


def per_index(
    extents: Extents, extent: Extent, leaf: Leaf, numbers: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """The sum, for each index of a leaf, of the numbers that belong to it.

    Args:
        extents: what is known of leaves.
        extent: the axis.
        leaf: a leaf.
        numbers: float64 [size of the axis].

    Returns:
        float64 [size of the leaf].
    """
    assert isinstance(leaf.size, int), "a leaf that is asked for has a known size"
    found = extents.resolve(extent)
    if found is leaf:
        return numbers
    total = np.zeros(leaf.size)
    if isinstance(found, Leaf):
        return total
    if isinstance(found, Product):
        table = numbers.reshape([_size(factor) for factor in found.factors])
        for place, factor in enumerate(found.factors):
            if any(item is leaf for item in extents.leaves(factor)):
                others = tuple(axis for axis in range(table.ndim) if axis != place)
                total += per_index(extents, factor, leaf, table.sum(axis=others))
        return total
    start = 0
    for part in found.parts:
        stop = start + _size(part)
        total += per_index(extents, part, leaf, numbers[start:stop])
        start = stop
    return total


def _size(extent: Extent) -> int:
    assert isinstance(extent.size, int), "a constant has known sizes"
    return extent.size


def places_per_index(extents: Extents, extent: Extent, leaf: Leaf) -> int:
    """How many elements of an axis go with each index of a leaf."""
    found = extents.resolve(extent)
    if isinstance(found, Leaf):
        return int(found is leaf)
    if not isinstance(found, Product):
        return sum(places_per_index(extents, part, leaf) for part in found.parts)
    counts = [places_per_index(extents, factor, leaf) for factor in found.factors]
    if not any(counts):
        return 0
    place = next(index for index, count in enumerate(counts) if count)
    others = [factor.size for index, factor in enumerate(found.factors) if index != place]
    return counts[place] * int(np.prod([size if isinstance(size, int) else 1 for size in others]))


def stands_twice(extents: Extents, extent: Extent) -> set[Leaf]:
    """Leaves that are more than one factor of a product, as in a flattened outer product: its indices can't go one by one."""
    found = extents.resolve(extent)
    if isinstance(found, Leaf):
        return set()
    inner = found.factors if isinstance(found, Product) else found.parts
    twice: set[Leaf] = set()
    seen: set[Leaf] = set()
    for item in inner:
        twice |= stands_twice(extents, item)
        mine = set(extents.leaves(item))
        if isinstance(found, Product):
            twice |= mine & seen
        seen |= mine
    return twice
