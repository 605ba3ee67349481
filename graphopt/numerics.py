"""What a rewrite or pass does to numbers, as its author declares it.

``Exact``: the same bits for every input, NaN payloads apart. ``Reassociates``: the same algebra over the reals, rounded in another
order. ``Lossy``: other numbers, measured by a metric. A pipeline declares the weakest of its parts, and its check at the end allows
what that declares and no more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Exact", "Lossy", "Numerics", "Reassociates", "weakest"]


@dataclass(frozen=True, slots=True)
class Exact:
    """Bit for bit the same results."""

    def __str__(self) -> str:
        return "exact"


@dataclass(frozen=True, slots=True)
class Reassociates:
    """The same algebra in another order of rounding.

    Attributes:
        rtol: allowed difference, relative to the largest magnitude of the output in float32; other types scale it by their epsilon.
    """

    rtol: float = 1e-4

    def __str__(self) -> str:
        return f"re-associates (rtol {self.rtol:g})"


@dataclass(frozen=True, slots=True)
class Lossy:
    """Other numbers, on purpose.

    Attributes:
        metric: what tells how much is lost, such as ``"sqnr"`` or ``"accuracy"``.
    """

    metric: str = "sqnr"

    def __str__(self) -> str:
        return f"lossy ({self.metric})"


Numerics = Exact | Reassociates | Lossy


def weakest(parts: Iterable[Numerics]) -> Numerics:
    """The declaration that covers all ``parts``: ``Exact`` for none, the largest tolerance of several, ``Lossy`` if one is."""
    found: Numerics = Exact()
    for part in parts:
        if isinstance(part, Lossy):
            return part
        if isinstance(part, Reassociates) and (not isinstance(found, Reassociates) or part.rtol > found.rtol):
            found = part
    return found
