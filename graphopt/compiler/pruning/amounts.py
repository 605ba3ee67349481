"""How much is to go, as people write it: ``flops=0.5``, ``0.8``, ``2:4``, ``auto``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from graphopt.errors import PruningError

__all__ = ["AUTO", "Amount", "Kind", "channels_amount", "magnitude_amount", "n_m_amount"]

#: What goes: whole channels, single weights, all but N of each M neighbours; or what a plan says.
Kind = Literal["channels", "magnitude", "n-m", "plan"]
#: As much as a budget allows.
AUTO: Final = "auto"
_MEASURES: Final = ("flops", "latency", "ratio")
_N_M: Final = re.compile(r"\s*(\d{1,4})\s*:\s*(\d{1,4})\s*")


@dataclass(frozen=True)
class Amount:
    """How much of what is to go.

    Attributes:
        kind: of what.
        measure: ``ratio`` of each group that goes, part of ``flops`` or ``latency`` that may be left, ``sparsity``, ``n:m``, or ``auto``
            for as much as a budget allows.
        value: the number; 0 for ``n:m``, ``auto`` and plans.
        n: of ``n:m``, kept of each ``m``.
        m: neighbours.
    """

    kind: Kind
    measure: str
    value: float = 0.0
    n: int = 2
    m: int = 4

    @property
    def is_none(self) -> bool:
        """Whether nothing is to go: a ratio or a sparsity of 0."""
        return self.measure in ("ratio", "sparsity") and not self.value

    @property
    def text(self) -> str:
        """The amount for people.

        Example:
            >>> Amount("channels", "flops", 0.5).text, Amount("magnitude", "sparsity", 0.8).text, Amount("n-m", "n:m").text
            ('channels, flops=0.5', 'magnitude, sparsity=0.8', '2:4 pattern')
        """
        if self.kind == "n-m":
            return f"{self.n}:{self.m} pattern"
        if self.kind == "plan":
            return "a plan"
        return f"{self.kind}, {self.measure}" + ("" if self.measure == AUTO else f"={self.value:g}")


def channels_amount(stated: object) -> Amount:
    """What ``--channels`` says.

    Args:
        stated: ``"flops=0.5"``, ``"latency=0.7"``, ``"ratio=0.3"`` or ``"auto"``, or the same as a mapping with one entry.

    Raises:
        PruningError: if it is not understood, or a number is out of its range.

    Example:
        >>> channels_amount("flops=0.5") == channels_amount({"flops": 0.5})
        True
    """
    if isinstance(stated, str) and stated.strip() == AUTO:
        return Amount("channels", AUTO)
    expected = "expected flops=0.5, latency=0.7, ratio=0.3 or auto"
    value: object
    if isinstance(stated, str):
        name, equals, value = (part.strip() for part in stated.partition("="))
        if not equals:
            raise PruningError(f"channels is {stated!r:.80}; {expected}")
    elif isinstance(stated, Mapping) and len(stated) == 1:
        name, value = next(iter(stated.items()))
    else:
        raise PruningError(f"channels is {stated!r:.80}; {expected}")
    if name not in _MEASURES:
        raise PruningError(f"channels is given by {name!r}; {expected}")
    number = _number(value, f"channels: {name}")
    if name == "ratio" and not 0 <= number < 1:
        if number == 1:
            raise PruningError(
                "channels: ratio is 1, which would remove every layer as a whole; expected a number in [0, 1)"
            )
        raise PruningError(f"channels: ratio is {number:g}, expected the part that goes, a number in [0, 1)")
    if name != "ratio" and not 0 < number < 1:
        raise PruningError(f"channels: {name} is {number:g}, expected the part that may be left, a number in (0, 1)")
    return Amount("channels", name, number)


def magnitude_amount(stated: object) -> Amount:
    """What ``--magnitude`` says: the part of the weights that become zero, or ``auto``.

    Raises:
        PruningError: if it is no number in [0, 1).

    Example:
        >>> magnitude_amount("0.8").value
        0.8
    """
    if isinstance(stated, str) and stated.strip() == AUTO:
        return Amount("magnitude", AUTO)
    number = _number(stated, "magnitude: sparsity")
    if not 0 <= number < 1:
        raise PruningError(
            f"magnitude: sparsity is {number:g}, expected the part that becomes zero, a number in [0, 1)"
        )
    return Amount("magnitude", "sparsity", number)


def n_m_amount(stated: object) -> Amount:
    """What ``--n-m`` says: how many of how many neighbours are kept.

    Raises:
        PruningError: if it is not understood, or keeps none or all.

    Example:
        >>> n_m_amount("2:4").n, n_m_amount("1:8").m
        (2, 8)
    """
    found = _N_M.fullmatch(stated) if isinstance(stated, str) else None
    if found is None:
        raise PruningError(f"n-m is {stated!r:.80}, expected how many of how many neighbours are kept, such as 2:4")
    n, m = int(found[1]), int(found[2])
    if not 1 <= n < m:
        raise PruningError(f"n-m is {n}:{m}, expected 1 <= N < M, such as 2:4")
    return Amount("n-m", "n:m", n=n, m=m)


def _number(value: object, what: str) -> float:
    """A number; a bool, text that is none, NaN and infinities are told."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]  # told apart by what it raises
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise PruningError(f"{what} is {value!r:.80}, expected a number such as 0.5")
    return number
