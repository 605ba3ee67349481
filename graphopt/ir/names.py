"""Fresh names: unique in a whole model, stable from run to run."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["NameScope"]


class NameScope:
    """The names in use in a model, for values and nodes alike.

    Example:
        >>> scope = NameScope()
        >>> scope.fresh("w"), scope.fresh("w")
        ('w', 'w_1')
    """

    __slots__ = ("_next", "_used")

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._next: dict[str, int] = {}

    def copy(self) -> NameScope:
        """The same names in a scope of its own."""
        twin = NameScope()
        twin._used = set(self._used)
        twin._next = dict(self._next)
        return twin

    def reserve(self, name: str) -> None:
        """Note that a name is in use."""
        self._used.add(name)

    def reserve_all(self, names: Iterable[str]) -> None:
        """Note that all of these names are in use."""
        self._used.update(names)

    def __contains__(self, name: str) -> bool:
        return name in self._used

    def fresh(self, base: str) -> str:
        """A name that is not in use, ``base`` itself when possible; it is in use from now on."""
        base = base or "value"
        name = base
        if name in self._used:
            count = self._next.get(base, 1)
            while (name := f"{base}_{count}") in self._used:
                count += 1
            self._next[base] = count + 1
        self._used.add(name)
        return name
