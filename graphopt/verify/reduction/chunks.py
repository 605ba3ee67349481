"""Which of many things a failure needs, in few questions: large groups first, then smaller ones, single ones last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

__all__ = ["minimize", "simplify"]

T = TypeVar("T")


def minimize(items: Sequence[T], holds: Callable[[list[T]], bool]) -> list[T]:
    """A small part of ``items`` for which ``holds`` is true, given that it is true for all of them.

    Halves are tried alone as long as one will do; then groups are taken out, from the last to the first, half as large in each sweep.
    When ``k`` of ``n`` things are needed this asks about ``2 k log n`` times. The result can spare no single thing.

    Args:
        items: in an order in which neighbours belong together.
        holds: whether a part, in the order of ``items``, is enough. It is not asked about all of them.

    Source: A. Zeller, R. Hildebrandt, Simplifying and isolating failure-inducing input, IEEE TSE 28 (2002), with sweeps that go on
    where they are instead of starting again.

    Example:
        >>> minimize(range(1000), lambda part: {7, 500} <= set(part))
        [7, 500]
    """
    kept = list(items)
    if not kept or holds([]):
        return []
    kept = _halve(kept, holds)
    size = max(1, len(kept) // 2)
    while True:
        before = len(kept)
        kept = _sweep(kept, size, holds)
        if size > 1:
            size = max(1, min(size // 2, len(kept) // 2))
        elif len(kept) == before:
            return kept


def _halve(kept: list[T], holds: Callable[[list[T]], bool]) -> list[T]:
    """Go on with one half, or the middle, as long as that is enough."""
    while len(kept) > 1:
        middle, quarter = len(kept) // 2, len(kept) // 4
        for part in (kept[:middle], kept[middle:], kept[quarter : len(kept) - quarter] if quarter else []):
            if part and holds(part):
                kept = part
                break
        else:
            break
    return kept


def _sweep(kept: list[T], size: int, holds: Callable[[list[T]], bool]) -> list[T]:
    """Take out each group of ``size`` that is not needed; the empty rest is not asked about again."""
    end = len(kept)
    while end > 0:
        start = max(0, end - size)
        rest = kept[:start] + kept[end:]
        if rest and holds(rest):
            kept = rest
        end = start
    return kept


def simplify(items: Sequence[T], attempt: Callable[[list[T]], bool]) -> int:
    """Change as many things as possible, in large groups where that goes well.

    Args:
        items: in an order in which neighbours belong together.
        attempt: changes a group for good if that is all right, and says whether it did.

    Returns:
        How many things were changed.

    Example:
        >>> simplify(range(8), lambda group: 5 not in group)
        7
    """
    changed = 0
    todo = [list(items)]
    while todo:
        group = todo.pop()
        if not group:
            continue
        if attempt(group):
            changed += len(group)
        elif len(group) > 1:
            middle = len(group) // 2
            todo += [group[middle:], group[:middle]]
    return changed
