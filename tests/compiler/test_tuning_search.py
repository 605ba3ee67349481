"""The search of ``tune``, on made-up models that take made-up times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest

from graphopt.builtin_plugin import builtin_plugins
from graphopt.compiler.tuning.choices import _HOUSEKEEPING, Candidate, fusions
from graphopt.compiler.tuning.search import Found, Outcome, TuningSearch
from graphopt.compiler.tuning.trial import TrialResult
from graphopt.errors import ExecutionError
from graphopt.passes import SessionSettings
from graphopt.runtime.paired import PairedTimes

ORIGINAL = Candidate("the original", "original", settings=SessionSettings(threads=2))


class Made:
    """A laboratory whose models take the time that a table says.

    Args:
        levels: seconds by level.
        factors: what a pass that is left out, or a setting, makes of it.
        rewrites: what passes did.
    """

    def __init__(
        self,
        levels: Mapping[str, float],
        factors: Mapping[str, float] | None = None,
        rewrites: Mapping[str, int] | None = None,
    ) -> None:
        self.levels = {"O0": 1.0, "O1": 1.0, "O2": 1.0, "O3": 1.0} | dict(levels)
        self.factors = factors or {}
        self.did = rewrites or {}
        self.refused: dict[str, tuple[Outcome, str]] = {}
        self.answers: dict[str, TrialResult | Exception] = {}
        self.confirms: list[float] = []
        self.is_shared = True
        self.now = 0.0
        self.asked: list[tuple[str, float]] = []

    def clock(self) -> float:
        return self.now

    def time_of(self, candidate: Candidate) -> float:
        found = self.levels[candidate.level]
        for name in candidate.disabled:
            found *= self.factors.get(name, 1.0)
        for name, value in candidate.settings.to_dict().items():
            found *= self.factors.get(f"{name}={value}", 1.0)
        return found

    def prepare(self, candidates: Sequence[Candidate]) -> Mapping[Candidate, tuple[Outcome, str]]:
        return {item: self.refused[item.name] for item in candidates if item.name in self.refused}

    def rewrites(self, candidate: Candidate) -> Mapping[str, int]:
        return self.did

    def measure(
        self, pairs: Sequence[tuple[Candidate, Candidate]], seconds: float, *, drop: bool
    ) -> list[TrialResult | Exception]:
        found: list[TrialResult | Exception] = []
        for first, second in pairs:
            self.asked.append((second.name, seconds))
            self.now += seconds
            a, b = self.time_of(first), self.time_of(second)
            if not drop and self.confirms:
                b = self.confirms.pop(0)
            times = PairedTimes((a,) * 20, (b,) * 20, dropped=drop and b > a)
            found.append(self.answers.get(second.name, TrialResult(times)))
        return found


def search(made: Made, *, seconds: float = 60.0, threads: Sequence[int] = (1, 2)) -> Found:
    return TuningSearch(made, ORIGINAL, threads, seconds=seconds, clock=made.clock).run()


def outcomes(found: Found) -> dict[str, str]:
    return {record.candidate.name: record.outcome for record in found.trials if record.candidate.choice != "confirm"}


def test_the_fastest_level_is_kept_and_confirmed() -> None:
    found = search(Made({"O1": 0.9, "O2": 0.7, "O3": 0.8}))
    assert ("O2", (), SessionSettings(threads=2)) == (found.best.level, found.best.disabled, found.best.settings)
    assert found.times is not None
    assert pytest.approx(1 / 0.7) == found.times.ratio.speedup
    last = found.trials[-1]
    assert ("confirm", "the original", "faster") == (last.candidate.choice, last.against, last.outcome)
    assert "O2, threads=2" == last.candidate.name


def test_passes_that_make_it_slower_are_left_out_together() -> None:
    rewrites = {"fuse-pad": 3, "fuse-matmul-add": 9, "fuse-conv-affine": 1}
    made = Made({"O2": 0.9}, {"fuse-pad": 0.9, "fuse-matmul-add": 0.8}, rewrites)
    found = search(made)
    assert ("fuse-matmul-add", "fuse-pad") == found.best.disabled
    tried = [record.candidate.name for record in found.trials if record.candidate.choice == "fusion"]
    assert ["O2 without fuse-matmul-add", "O2 without fuse-pad", "O2 without fuse-conv-affine"] == tried
    assert "no faster" == outcomes(found)["O2 without fuse-conv-affine"]


def test_fusions_are_rules_where_a_pass_has_several() -> None:
    """Passes that only tidy up are none; a count that is not of a rule is left to its pass."""
    did = {
        "fuse-pad": {"fuse-pad-conv": 3, "fuse-pad-pool": 2, "other": 5},
        "fuse-matmul-add": {"fuse-matmul-add": 9},
        "unroll-loops": {"unrolled": 1},
        "fold-constants": {"folded": 50},
        "fuse-conv-affine": {"fold-scale-before-conv": 4, "fold-scale-behind-conv": 0},
    }
    rules = {"fuse-pad-conv", "fuse-pad-pool", "fuse-matmul-add", "fold-scale-before-conv", "fold-scale-behind-conv"}
    expected = {"fuse-pad-conv": 3, "fuse-pad-pool": 2, "fuse-matmul-add": 9, "unroll-loops": 1, "fuse-conv-affine": 4}
    assert expected == fusions(did, rules)


def test_passes_that_only_tidy_up_are_passes() -> None:
    """None of them was renamed since."""
    assert set() == _HOUSEKEEPING - set(builtin_plugins(discover=False).passes)


def test_settings_that_help_are_used_together() -> None:
    made = Made({}, {"threads=1": 0.8, "arena=False": 0.9, "spinning=False": 1.2})
    found = search(made)
    assert SessionSettings(threads=1, arena=False) == found.best.settings
    assert "O0" == found.best.level
    assert "slower" == outcomes(found)["spinning=false"]


def test_of_two_values_of_a_setting_the_better_one_is_used() -> None:
    made = Made({}, {"optimization=basic": 0.9, "optimization=extended": 0.7})
    assert SessionSettings(threads=2, optimization="extended") == search(made).best.settings


def test_settings_that_help_alone_but_not_together_are_not_joined() -> None:
    class Grudge(Made):
        def time_of(self, candidate: Candidate) -> float:
            both = candidate.settings.threads == 1 and candidate.settings.arena is False
            return 2.0 if both else super().time_of(candidate)

    found = search(Grudge({}, {"threads=1": 0.8, "arena=False": 0.9}))
    assert SessionSettings(threads=1) == found.best.settings


def test_nothing_faster_keeps_the_original() -> None:
    """And nothing is confirmed."""
    found = search(Made({"O2": 0.995, "O3": 1.1}))
    assert (ORIGINAL, None) == (found.best, found.times)
    assert {"no faster", "slower"} == set(outcomes(found).values())
    assert not [record for record in found.trials if record.candidate.choice == "confirm"]


def test_what_is_not_confirmed_is_not_kept() -> None:
    """The model without the settings is next; then the original."""
    for confirms, level, settings in (
        ([1.0, 0.9], "O2", SessionSettings(threads=2)),
        ([1.0, 1.3], "O0", SessionSettings(threads=2)),
        ([0.995, 0.995], "O0", SessionSettings(threads=2)),
    ):
        made = Made({"O2": 0.9}, {"arena=False": 0.9})
        made.confirms = list(confirms)
        found = search(made)
        assert (level, settings) == (found.best.level, found.best.settings)
        assert 2 == len([record for record in found.trials if record.candidate.choice == "confirm"])


def test_what_fails_or_is_wrong_is_told_and_not_used() -> None:
    made = Made({"O1": 0.5, "O2": 0.6, "O3": 0.7}, {"arena=False": 0.1})
    made.refused["O1"] = ("wrong", "the result differs from the original")
    made.answers["O2"] = TrialResult(None, "output 'y' is far off")
    made.answers["arena=false"] = ExecutionError("crashed in native code with SIGSEGV")
    found = search(made)
    assert "O3" == found.best.level
    told = {record.candidate.name: (record.outcome, record.reason) for record in found.trials}
    assert ("wrong", "the result differs from the original") == told["O1"]
    assert ("wrong", "output 'y' is far off") == told["O2"]
    assert ("failed", "crashed in native code with SIGSEGV") == told["arena=false"]
    assert "O1" not in [name for name, _ in made.asked]


def test_time_is_kept() -> None:
    """Trials that do not fit are told; a fifth of the time is left to confirm."""
    made = Made({"O1": 0.9}, rewrites={"fuse-pad": 1, "fuse-conv-affine": 1})
    found = search(made, seconds=10.0)
    assert made.now <= 10.0 + 2.0
    assert "no time" not in outcomes(found).values()

    class Slow(Made):
        def measure(self, pairs, seconds, *, drop):
            return super().measure(pairs, 5.0, drop=drop)

    slow = Slow({"O1": 0.9}, {"arena=False": 0.5}, rewrites={f"fuse-{number}": 9 - number for number in range(8)})
    found = search(slow, seconds=100.0)
    tried = [record.candidate.choice for record in found.trials if record.times is not None]
    assert {"level": 3, "fusion": 8, "session": 5, "confirm": 1} == Counter(tried)
    found = search(Slow({"O1": 0.9}), seconds=10.0)
    assert ["faster", "no time", "no time"] == list(outcomes(found).values())[:3]
    assert "O1" == found.best.level


def test_machines_of_their_own_work_at_the_same_time() -> None:
    made = Made({"O1": 0.9})
    made.is_shared = False
    calls: list[int] = []
    measure = made.measure

    def counted(pairs, seconds, *, drop):
        calls.append(len(pairs))
        return measure(pairs, seconds, drop=drop)

    made.measure = counted  # type: ignore[method-assign]  # counts on the way
    search(made)
    assert [3, 8, 1] == calls
