"""Two ways to run something, measured in turns until it is clear that the second is slower, or time is up.

Both run in each round, who comes first changes from round to round. Runs are timed in turns of a millisecond and more, and a turn of
short runs begins with one that does not count: threads of the other one may still be spinning then.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from graphopt.runtime.latency import Latency, LatencyRatio, latency_ratio

__all__ = ["PairedTimes", "measure_pair", "sign_test"]

_LEAST_ROUNDS: Final = 5
_MOST_ROUNDS: Final = 2000
#: Runs that take longer than this are not disturbed by threads that spin for a moment.
_SHORT: Final = 0.02
_TURN: Final = 0.001
_MOST_RUNS: Final = 64
#: Rounds after which times that do not overlap at all, by a margin, tell who is faster: one chance of 252 between equals.
_APART: Final = 5
_MARGIN: Final = 1.05
#: Chance at which the second one is dropped though it is as fast; is taken for faster though it is not; seems so for the time being.
_DROP, _FASTER, _SEEMS = 0.005, 0.01, 0.05


@dataclass(frozen=True, slots=True)
class PairedTimes:
    """Times of two ways to run something, of one round at the same position.

    Attributes:
        first: seconds of a run of the first, in each round.
        second: the same of the second.
        dropped: whether measuring ended early because the second was clearly slower.
    """

    first: tuple[float, ...]
    second: tuple[float, ...]
    dropped: bool = False

    @property
    def ratio(self) -> LatencyRatio:
        """How much faster the second is, round by round."""
        return latency_ratio(Latency(self.first), Latency(self.second))

    @property
    def wins(self) -> int:
        """Rounds in which the second was faster."""
        return sum(b < a for a, b in zip(self.first, self.second, strict=True))

    @property
    def is_faster(self) -> bool:
        """Whether the second is faster beyond what chance gives in one of a hundred, by a hundredth at least."""
        return self._is_faster(_FASTER)

    @property
    def seems_faster(self) -> bool:
        """The same in one of twenty: enough to look at it again."""
        return self._is_faster(_SEEMS)

    def _is_faster(self, chance: float) -> bool:
        rounds = len(self.first)
        if rounds >= _APART and _apart(self.second, self.first):
            return True
        return sign_test(rounds - self.wins, rounds) < chance and self.ratio.speedup > 1.01


def sign_test(wins: int, rounds: int) -> float:
    """The chance of so few wins, or fewer, in so many rounds between equals.

    Example:
        >>> sign_test(0, 10), sign_test(5, 10) > 0.6
        (0.0009765625, True)
    """
    return (
        math.fsum(math.comb(rounds, k) for k in range(wins + 1)) / 2**rounds if rounds < 1000 else _normal(wins, rounds)
    )


def _normal(wins: int, rounds: int) -> float:
    return 0.5 * math.erfc((rounds / 2 - wins - 0.5) / math.sqrt(rounds / 2))


def _apart(less: Sequence[float], more: Sequence[float]) -> bool:
    """Whether each time of the one is below each of the other, by a margin."""
    return max(less) * _MARGIN < min(more)


def measure_pair(
    first: Callable[[], object],
    second: Callable[[], object],
    *,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
    drop: bool = True,
) -> PairedTimes:
    """Run both in turns.

    Args:
        first: what is compared with.
        second: the other one.
        seconds: when to stop; five rounds are made at least.
        clock: gives seconds.
        drop: whether to stop as soon as the second is clearly slower.
    """
    arms = (_Arm(first, clock), _Arm(second, clock))
    collected = gc.isenabled()
    gc.disable()
    dropped = False
    try:
        end = clock() + seconds
        wins = rounds = 0
        while rounds < _LEAST_ROUNDS or (rounds < _MOST_ROUNDS and clock() < end):
            order = arms if rounds % 2 == 0 else arms[::-1]
            for arm in order:
                arm.turn()
            rounds += 1
            wins += arms[1].times[-1] < arms[0].times[-1]
            if drop and _is_slower(arms[0].times, arms[1].times, wins):
                dropped = True
                break
    finally:
        if collected:
            gc.enable()
    return PairedTimes(tuple(arms[0].times), tuple(arms[1].times), dropped)


def _is_slower(first: Sequence[float], second: Sequence[float], wins: int) -> bool:
    rounds = len(first)
    if rounds >= _APART and _apart(first, second):
        return True
    return rounds >= _LEAST_ROUNDS and sign_test(wins, rounds) < _DROP


class _Arm:
    """One of the two."""

    def __init__(self, run: Callable[[], object], clock: Callable[[], float]) -> None:
        self._run = run
        self._clock = clock
        for _ in range(2):  # the first run allocates
            last = self._timed(1)
        self._short = last < _SHORT
        self._runs = min(_MOST_RUNS, max(1, math.ceil(_TURN / max(last, 1e-9))))
        self.times: list[float] = []

    def _timed(self, runs: int) -> float:
        before = self._clock()
        for _ in range(runs):
            self._run()
        return (self._clock() - before) / runs

    def turn(self) -> None:
        """Run, and note how long that took."""
        if self._short:
            self._run()
        self.times.append(self._timed(self._runs))
