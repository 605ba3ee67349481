"""What channels cost when they go one by one, and the weights of those that are left are fitted anew each time."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["eliminated"]

Float64 = npt.NDArray[np.float64]
#: In so many steps all channels go; of each step only the channels that cost least are looked at one by one.
_STEPS: Final = 48


def eliminated(weights: Float64, inverse: Float64, channels: int) -> Float64:
    """What each channel costs when channels go one by one, always the one that costs least, and the others are fitted anew each time.

    Two channels of which each can stand for the other get different numbers: that of the second one is what both cost. Nothing gets cheaper
    when others go, so the next few are among those that are cheap now: only these are kept up to date one by one.

    Args:
        weights: float64 [outputs, columns]; the columns of a channel are neighbours.
        inverse: inverse of the second moments of the columns, float64 [columns, columns].
        channels: how many there are.

    Returns:
        float64 [channels], growing in the order in which they go.

    Example:
        >>> eliminated(np.array([[1.0, 3.0, 2.0]]), np.eye(3), 3).tolist()
        [1.0, 9.0, 4.0]
    """
    window = weights.shape[1] // channels
    left, inverse = weights.copy(), inverse.copy()
    alive = np.arange(channels)
    found, least = np.zeros(channels), 0.0
    each = -(-channels // _STEPS)
    while len(alive):
        costs = _costs(left, inverse, window)
        cheap = np.sort(np.argsort(costs, kind="stable")[: 2 * each])
        columns = _columns(cheap, window)
        gone = []
        for place, cost in _one_by_one(
            left[:, columns], inverse[np.ix_(columns, columns)], window, min(each, len(cheap))
        ):
            least = max(least, cost)
            found[alive[cheap[place]]] = least
            gone.append(cheap[place])
        kept = np.setdiff1d(np.arange(len(alive)), gone)
        away, stay = _columns(np.array(gone), window), _columns(kept, window)
        block = np.linalg.solve(inverse[np.ix_(away, away)], inverse[np.ix_(away, stay)])
        left = left[:, stay] - left[:, away] @ block
        inverse = inverse[np.ix_(stay, stay)] - inverse[np.ix_(stay, away)] @ block
        alive = alive[kept]
    return found


def _columns(channels: npt.NDArray[np.int64], window: int) -> npt.NDArray[np.int64]:
    found: npt.NDArray[np.int64] = (channels[:, None] * window + np.arange(window)).reshape(-1)
    return found


def _costs(left: Float64, inverse: Float64, window: int) -> Float64:
    """The error without each channel, the others fitted anew: float64 [channels]."""
    if window == 1:
        costs: Float64 = np.square(left).sum(axis=0) / np.diagonal(inverse)
        return costs
    places = np.arange(left.shape[1]).reshape(-1, window)
    parts = left.T[places]  # [channels, window, outputs]
    solved = np.linalg.solve(inverse[places[:, :, None], places[:, None, :]], parts)
    return np.asarray(np.einsum("cko,cko->c", parts, solved), np.float64)


def _one_by_one(left: Float64, inverse: Float64, window: int, count: int) -> list[tuple[int, float]]:
    """Which of a few channels go first, and what each costs."""
    found: list[tuple[int, float]] = []
    gone = np.zeros(left.shape[1] // window, np.bool_)
    for _ in range(count):
        blocks = inverse.copy()
        dead = _columns(np.flatnonzero(gone), window)
        blocks[dead, dead] = 1.0  # what is gone has no numbers any more
        costs = np.where(gone, np.inf, _costs(left, blocks, window))
        worst = int(np.argmin(costs))
        found.append((worst, float(costs[worst])))
        gone[worst] = True
        columns = _columns(np.array([worst]), window)
        block = np.linalg.solve(inverse[np.ix_(columns, columns)], inverse[columns])
        left = left - left[:, columns] @ block
        inverse = inverse - inverse[:, columns] @ block
    return found
