"""How loud an error is beside a signal, as passes report it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

__all__ = ["LOUDEST", "effect", "sqnr"]

#: What no error at all counts as, in dB.
LOUDEST: Final = 120.0


def sqnr(signal: float, noise: float) -> float:
    """Signal-to-quantization-noise ratio in dB, between -120 and 120.

    Args:
        signal: sum of squares.
        noise: sum of squares of the error.

    Example:
        >>> sqnr(100.0, 1.0), sqnr(1.0, 0.0), sqnr(0.0, 1.0)
        (20.0, 120.0, -120.0)
    """
    if noise <= 0:
        return LOUDEST
    return max(-LOUDEST, min(LOUDEST, 10 * math.log10(signal / noise))) if signal > 0 else -LOUDEST


def effect(ratios: Iterable[tuple[float, float]]) -> dict[str, int]:
    """Statistics of a pass: how many layers, and the mean of their ratios before and after.

    Args:
        ratios: in dB, before and after, of each layer.

    Returns:
        ``layers``, ``sqnr_before`` and ``sqnr_after`` in hundredths of dB; nothing for no layers.

    Example:
        >>> effect([(20.0, 30.0), (21.0, 30.5)])
        {'layers': 2, 'sqnr_before': 2050, 'sqnr_after': 3025}
    """
    pairs = list(ratios)
    if not pairs:
        return {}
    before, after = (round(100 * sum(side) / len(pairs)) for side in zip(*pairs, strict=True))
    return {"layers": len(pairs), "sqnr_before": before, "sqnr_after": after}
