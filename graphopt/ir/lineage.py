"""Where a node or value came from: the names in the original model, through every rewrite.

Merging is O(1): a lineage points to the ones it was merged from, and names are collected only when somebody reads them.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["LINEAGE_KEY", "Lineage"]

#: Metadata property of a node in a file that says which original nodes it came from.
LINEAGE_KEY = "graphopt.lineage"


class Lineage:
    """A set of original names, in the order of first merge.

    Example:
        >>> Lineage.merge([Lineage(("conv_1",)), Lineage(("bn_1",))]).names()
        ('conv_1', 'bn_1')
    """

    __slots__ = ("_names", "_parents")

    def __init__(self, names: tuple[str, ...] = ()) -> None:
        self._names: tuple[str, ...] | None = names
        self._parents: tuple[Lineage, ...] = ()

    @classmethod
    def merge(cls, parents: Iterable[Lineage]) -> Lineage:
        """One lineage that has the names of all ``parents``."""
        distinct = tuple(dict.fromkeys(parents))
        if len(distinct) == 1:
            return distinct[0]
        merged = cls()
        if distinct:
            merged._names = None
            merged._parents = distinct
        return merged

    def names(self) -> tuple[str, ...]:
        """The original names, each once."""
        if self._names is None:
            found: dict[str, None] = {}
            seen: set[int] = set()
            todo = list(reversed(self._parents))
            while todo:
                lineage = todo.pop()
                if id(lineage) in seen:
                    continue
                seen.add(id(lineage))
                if lineage._names is None:
                    todo.extend(reversed(lineage._parents))
                else:
                    found.update(dict.fromkeys(lineage._names))
            self._names = tuple(found)
            self._parents = ()
        return self._names

    def __repr__(self) -> str:
        return f"Lineage({self.names()})"
