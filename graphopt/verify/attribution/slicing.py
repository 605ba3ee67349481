"""Values in groups that fit into memory together."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["slices"]


def slices(sizes: Sequence[int | None], budget: int) -> list[range]:
    """Consecutive groups, each of which is within a budget; what is larger than that, or of unknown size, is alone.

    Args:
        sizes: bytes of each value, ``None`` where unknown.
        budget: bytes of a group.

    Example:
        >>> slices([40, 50, 20, 300, None, 10], 100)
        [range(0, 2), range(2, 3), range(3, 4), range(4, 5), range(5, 6)]
    """
    found: list[range] = []
    start, total, closed = 0, 0, False
    for place, size in enumerate(sizes):
        if place > start and (closed or size is None or total + size > budget):
            found.append(range(start, place))
            start, total = place, 0
        closed = size is None
        total += size or 0
    if start < len(sizes):
        found.append(range(start, len(sizes)))
    return found
