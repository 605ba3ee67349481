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
    start, total = 0, 0
    for place, size in enumerate(sizes):
        own = budget if size is None else size
        if (place > start and total + own > budget) or (size is None and place > start):
            found.append(range(start, place))
            start, total = place, 0
        total += own
    if start < len(sizes):
        found.append(range(start, len(sizes)))
    return found
