"""How long models take to run, several of them interleaved so that whatever the machine does meets all of them alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from graphopt.runtime.base import Feeds, Runner

__all__ = ["Latency", "LatencyRatio", "latency_ratio", "measure_latency"]

_MIN_SAMPLES = 5


@dataclass(frozen=True, slots=True)
class Latency:
    """How long one model took.

    Attributes:
        samples: seconds of each run that counts, in order.
        warmup: runs before these.
    """

    samples: tuple[float, ...] = field(repr=False)
    warmup: int = 0

    @property
    def runs(self) -> int:
        """How many runs count."""
        return len(self.samples)

    @property
    def median(self) -> float:
        """The middle run, in seconds."""
        return statistics.median(self.samples)

    @property
    def mean(self) -> float:
        """The average run, in seconds."""
        return statistics.fmean(self.samples)

    @property
    def best(self) -> float:
        """The fastest run, in seconds."""
        return min(self.samples)

    def percentile(self, percent: float) -> float:
        """The time in seconds that ``percent`` of the runs do not exceed.

        Example:
            >>> Latency((1.0, 2.0, 3.0)).percentile(50)
            2.0
        """
        return float(np.percentile(self.samples, percent))


@dataclass(frozen=True, slots=True)
class LatencyRatio:
    """How much faster one model is than another.

    Attributes:
        speedup: median over rounds of the time of the first by the time of the second; above 1 the second is faster.
        low: lower quartile over rounds.
        high: upper quartile over rounds.
    """

    speedup: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.speedup:.2f} times as fast (half of the rounds between {self.low:.2f} and {self.high:.2f})"


def measure_latency(
    runners: Mapping[str, Runner],
    feeds: Mapping[str, Feeds],
    *,
    warmup: int = 3,
    repeats: int | None = None,
    seconds: float = 2.0,
    max_repeats: int = 1000,
) -> dict[str, Latency]:
    """Run models in turns, one run each a round, and time each run.

    Args:
        runners: models by name.
        feeds: inputs of each, by name.
        warmup: rounds that do not count.
        repeats: rounds that count; by default as many as fit in ``seconds``, and five at least.
        seconds: time for all rounds together when ``repeats`` is not given.
        max_repeats: most rounds when ``repeats`` is not given.

    Returns:
        Times by name, samples of one round at the same position.

    Raises:
        ExecutionError: if a model fails.
    """
    names = list(runners)
    samples: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(warmup):
        for name in names:
            runners[name].run(feeds[name])
    collected = gc.isenabled()
    gc.disable()
    try:
        start = time.perf_counter()
        done = 0
        while (
            done < repeats if repeats is not None else _goes_on(done, time.perf_counter() - start, seconds, max_repeats)
        ):
            turn = done % len(names)
            for name in names[turn:] + names[:turn]:  # who comes first changes from round to round
                before = time.perf_counter()
                runners[name].run(feeds[name])
                samples[name].append(time.perf_counter() - before)
            done += 1
    finally:
        if collected:
            gc.enable()
    return {name: Latency(tuple(times), warmup) for name, times in samples.items()}


def _goes_on(done: int, spent: float, seconds: float, max_repeats: int) -> bool:
    return done < _MIN_SAMPLES or (spent < seconds and done < max_repeats)


def latency_ratio(first: Latency, second: Latency) -> LatencyRatio:
    """How much faster the second is than the first, round by round.

    Args:
        first: the one compared with.
        second: the other one, measured in the same rounds.

    Example:
        >>> str(latency_ratio(Latency((2.0, 2.2, 2.4)), Latency((1.0, 1.1, 1.2))))
        '2.00 times as fast (half of the rounds between 2.00 and 2.00)'
    """
    ratios = np.array(first.samples) / np.array(second.samples)
    low, middle, high = np.percentile(ratios, (25, 50, 75))
    return LatencyRatio(float(middle), float(low), float(high))
