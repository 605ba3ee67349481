"""What every frontend is."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from graphopt.ir import Model

__all__ = ["Frontend"]


@runtime_checkable
class Frontend(Protocol):
    """Turns something into IR."""

    @property
    def name(self) -> str:
        """In kebab-case, unique."""

    def accepts(self, source: object) -> bool:
        """Whether this frontend reads things like ``source``; looks at its type and name only, and opens nothing.

        A path may come as text or as a ``Path``.
        """

    def lift(self, source: object) -> Model:
        """The IR of ``source``.

        Raises:
            ModelError: if the model is broken, or cannot be kept.
        """
