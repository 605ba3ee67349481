"""Two things measured in turns, by a clock that the test moves."""

from __future__ import annotations

import pytest

from graphopt.runtime.paired import PairedTimes, measure_pair, sign_test


class World:
    """A clock, and things that take time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order: list[str] = []

    def clock(self) -> float:
        return self.now

    def thing(self, name: str, *seconds: float):
        """Takes these times in turns."""

        def run() -> None:
            self.now += seconds[len([item for item in self.order if item == name]) % len(seconds)]
            self.order.append(name)

        return run


def test_who_comes_first_changes() -> None:
    world = World()
    times = measure_pair(world.thing("a", 0.1), world.thing("b", 0.1), seconds=1.0, clock=world.clock)
    assert "aabb" + "abba" * 2 + "ab" == "".join(world.order)
    assert pytest.approx([0.1] * 5) == list(times.first)
    assert not times.dropped
    assert not times.is_faster


def test_a_slower_one_is_dropped_early() -> None:
    """As soon as chance does not explain it: eight rounds of eight, or five that are far apart."""
    for slow, rounds in ((0.104, 8), (0.11, 5)):
        world = World()
        times = measure_pair(world.thing("a", 0.1), world.thing("b", slow), seconds=100.0, clock=world.clock)
        assert (True, rounds) == (times.dropped, len(times.second))
    world = World()
    run = measure_pair(world.thing("a", 0.1), world.thing("b", 0.11), seconds=10.0, clock=world.clock, drop=False)
    assert 40 < len(run.second)


def test_a_faster_one_is_measured_to_the_end() -> None:
    world = World()
    times = measure_pair(world.thing("a", 0.1), world.thing("b", 0.05), seconds=3.0, clock=world.clock)
    assert 20 == len(times.first) == times.wins
    assert times.is_faster
    assert pytest.approx(2.0) == times.ratio.speedup


def test_short_runs_are_timed_together_after_one_that_does_not_count() -> None:
    """A turn takes a millisecond at least."""
    world = World()
    first, second = world.thing("a", 0.0001), world.thing("b", 0.03)
    times = measure_pair(first, second, seconds=0.0, clock=world.clock, drop=False)
    assert 2 + 5 * 11 == world.order.count("a")
    assert 2 + 5 == world.order.count("b")
    assert pytest.approx([0.0001] * 5) == list(times.first)


@pytest.mark.parametrize(
    ("first", "second", "faster"),
    [
        ((1.0,) * 20, (0.9,) * 20, True),
        ((1.0,) * 20, (0.995,) * 20, False),  # by less than a hundredth
        ((1.0,) * 5, (0.96,) * 5, False),  # too few rounds to tell
        ((1.0,) * 5, (0.5,) * 5, True),  # unless they are far apart
        ((1.0, 0.5) * 10, (0.7, 0.7) * 10, False),  # now so, now so
        ((1.0,) * 20, (1.1,) * 20, False),
    ],
)
def test_faster_is_what_chance_does_not_explain(first, second, faster) -> None:
    assert faster == PairedTimes(first, second).is_faster


def test_what_seems_faster_is_looked_at_again() -> None:
    """Nine rounds of eleven."""
    times = PairedTimes((1.0,) * 11, (0.8,) * 9 + (1.2,) * 2)
    assert (False, True) == (times.is_faster, times.seems_faster)
    times = PairedTimes((1.0,) * 11, (0.8,) * 8 + (1.2,) * 3)
    assert not times.seems_faster


def test_chance_of_many_rounds() -> None:
    """The normal distribution stands in for large numbers."""
    assert pytest.approx(sign_test(450, 999), rel=0.2) == sign_test(450, 1000)
    assert 0.45 < sign_test(500, 1000) < 0.55
    assert sign_test(400, 1000) < 1e-8
