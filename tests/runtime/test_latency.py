"""Latency is measured in turns, and its statistics are those of the samples."""

from __future__ import annotations

import gc
import time
from types import TracebackType
from typing import Self

from graphopt.runtime.base import Feeds, Outputs
from graphopt.runtime.latency import Latency, latency_ratio, measure_latency


class Recorder:
    """A runner that writes down when it is run."""

    inputs = outputs = overridable = ()

    def __init__(self, name: str, log: list[str], pause: float = 0.0) -> None:
        self.name, self.log, self.pause = name, log, pause

    def run(self, feeds: Feeds) -> Outputs:
        self.log.append(f"{self.name}{'' if gc.isenabled() else '!'}")
        time.sleep(self.pause)
        return {}

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def test_models_take_turns_and_change_who_is_first() -> None:
    """Each round runs each model once; garbage is collected only outside of what counts."""
    log: list[str] = []
    runners = {name: Recorder(name, log) for name in "ab"}
    found = measure_latency(runners, {"a": {}, "b": {}}, warmup=1, repeats=3)
    assert ["a", "b", "a!", "b!", "b!", "a!", "a!", "b!"] == log
    assert (3, 3) == (found["a"].runs, found["b"].runs)
    assert gc.isenabled()


def test_time_limits_the_rounds_but_leaves_five() -> None:
    """Slow models are run five times, fast ones no more than asked."""
    slow = measure_latency({"a": Recorder("a", [], 0.01)}, {"a": {}}, warmup=0, seconds=0.001)
    assert 5 == slow["a"].runs
    assert slow["a"].best >= 0.01
    fast = measure_latency({"a": Recorder("a", [])}, {"a": {}}, warmup=0, seconds=60, max_repeats=40)
    assert 40 == fast["a"].runs


def test_statistics_and_ratio() -> None:
    """Median, percentile and ratio of pairs, by hand."""
    first, second = Latency((4.0, 2.0, 6.0)), Latency((1.0, 2.0, 2.0))
    assert (4.0, 4.0, 2.0, 6.0) == (first.median, first.mean, first.best, first.percentile(100))
    ratio = latency_ratio(first, second)
    assert 3.0 == ratio.speedup
    assert (2.0, 3.5) == (ratio.low, ratio.high)
