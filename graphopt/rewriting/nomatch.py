"""Why a rule does not apply, said only to those who ask."""

from __future__ import annotations

__all__ = ["NoMatch"]


class NoMatch:
    """A rule's answer when it does not apply. Falsy; its text is formatted when somebody reads it.

    Args:
        reason: text with ``%s`` places.
        args: what goes there.

    Example:
        >>> str(NoMatch("weight has rank %d, expected %d", 2, 4))
        'weight has rank 2, expected 4'
    """

    __slots__ = ("args", "reason")

    def __init__(self, reason: str, *args: object) -> None:
        self.reason = reason
        self.args = args

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return self.reason % self.args if self.args else self.reason

    def __repr__(self) -> str:
        return f"NoMatch({str(self)!r})"
