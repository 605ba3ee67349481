"""Candidates: plans that were made, judged and measured, each at most once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from graphopt.compiler.quantizing.bench import times_of
from graphopt.compiler.quantizing.judge import Judge
from graphopt.compiler.quantizing.plan import Plan, Settings
from graphopt.compiler.quantizing.workshop import Made, Workshop
from graphopt.errors import GraphoptError
from graphopt.ir import Model
from graphopt.passes import CalibrationSource, PassRecord, PassRegistry
from graphopt.runtime.paired import PairedTimes

__all__ = ["Candidate", "Outcome", "Stopwatch", "Trials"]

Outcome = Literal["", "kept", "faster", "no faster", "slower", "not accurate enough", "failed"]
#: A candidate that is slower by no more than this is as fast: repeated measurements differ by as much.
_NOISE = 0.985


@dataclass
class Candidate:
    """A plan, and what came of it.

    Attributes:
        name: for people.
        plan: it.
        settings: how it was made.
        made: the model, ``None`` when it failed.
        values: metrics on held-out examples, empty when nobody asked.
        cautious: the same, worse by what other examples may differ.
        times: beside the model of floats, for each size of inputs; ``None`` when nobody asked.
        outcome: in a word or two.
        reason: why it failed.
        is_rough: whether the metrics are those of a few examples.
    """

    name: str
    plan: Plan
    settings: Settings
    made: Made | None = None
    values: dict[str, float] = field(default_factory=dict)
    cautious: dict[str, float] = field(default_factory=dict)
    times: list[PairedTimes] | None = None
    outcome: Outcome = ""
    reason: str = ""
    is_rough: bool = False

    @property
    def speedup(self) -> float | None:
        """How many times as fast as the model of floats, the geometric mean over sizes of inputs; ``None`` where not measured."""
        if not self.times:
            return None
        return math.exp(sum(math.log(max(item.ratio.speedup, 1e-9)) for item in self.times) / len(self.times))

    @property
    def is_faster(self) -> bool:
        """Whether it is faster than floats with inputs of one size, and with none slower beyond noise."""
        if not self.times or any(item.dropped for item in self.times):
            return False
        ratios = [item.ratio.speedup for item in self.times]
        return any(item.seems_faster for item in self.times) and min(ratios) >= _NOISE and max(ratios) > 1.02


class Stopwatch:
    """Measures models beside the model of floats.

    Args:
        baseline: path of that model.
        feeds: inputs of one size, and of another.
        seconds: for a pair.
        threads: within an operator.
    """

    def __init__(self, baseline: str, feeds: Sequence[Mapping[str, object]], *, seconds: float, threads: int) -> None:
        self.baseline = baseline
        self.feeds = feeds
        self.seconds = seconds
        self.threads = threads

    def measure(self, path: str, *, factor: float = 1.0, drop: bool = True) -> list[PairedTimes]:
        """Times of the baseline and of a model, in turns.

        Args:
            path: of the model.
            factor: of the time that is spent.
            drop: whether to stop as soon as it is clearly slower.
        """
        return times_of(self.baseline, path, self.feeds, seconds=self.seconds * factor, threads=self.threads, drop=drop)


class Trials:
    """Makes, judges and measures plans on one prepared model.

    Args:
        model: prepared.
        workshop: makes models.
        judge: judges them.
        stopwatch: measures them, ``None`` to do without.
        calibration: data for passes.
        registry: passes by name.
        tell: told what is going on.
        few: the same data, of which passes look at a few examples; ranges are the same.
    """

    def __init__(
        self,
        model: Model,
        workshop: Workshop,
        judge: Judge,
        stopwatch: Stopwatch | None,
        calibration: CalibrationSource | None,
        registry: PassRegistry,
        tell: Callable[[str], None],
        few: CalibrationSource | None = None,
    ) -> None:
        self.model = model
        self.workshop = workshop
        self._judge = judge
        self.stopwatch = stopwatch
        self.calibration = calibration
        self._registry = registry
        self.tell = tell
        self._few = few
        self._made: dict[tuple[object, ...], Candidate] = {}
        self._begun: tuple[tuple[str, CalibrationSource | None], Model, tuple[PassRecord, ...]] | None = None
        self.all: list[Candidate] = []

    def make(self, name: str, plan: Plan, settings: Settings, *, note: bool = True, quick: bool = False) -> Candidate:
        """A candidate; one that fails says why, and the others go on. What was made already is not made again.

        Args:
            name: for people.
            plan: the form of each layer.
            settings: how they are made.
            note: whether it is one of ``all``.
            quick: whether passes that look at data look at a few examples only.
        """
        how = settings.accuracy, settings.careful, repr(settings.options)
        key = (tuple(plan.forms.items()), plan.whole, *how, quick)
        known = self._made.get(key)
        found = Candidate(name, plan, settings) if known is None else replace(known, name=name)
        if known is None:
            self.tell(f"making {name}")
            source = self._few if quick and self._few is not None else self.calibration
            try:
                found.made = self._make(plan, settings, source)
            except GraphoptError as err:
                found.outcome, found.reason = "failed", str(err)
            self._made[key] = found
        if note:
            self.all.append(found)
        return found

    def _make(self, plan: Plan, settings: Settings, source: CalibrationSource | None) -> Made:
        """A model; weights that are stored come first, and the model after that is kept for the next plan that stores the same."""
        begin, rest = plan.pipelines(settings, self._registry)
        if not begin.items:
            return self.workshop.make(self.model, rest, source)
        text = begin.to_text()
        if self._begun is None or self._begun[0] != (text, source):
            self._begun = (text, source), *self.workshop.run(self.model, begin, source)
        _, model, records = self._begun
        made = self.workshop.make(model, rest, source)
        return replace(made, passes=(*records, *made.passes), pipeline=f"{text},{made.pipeline}")

    def drop(self, candidate: Candidate) -> None:
        """Forget the model of a candidate, which takes memory and room on disk."""
        self._made = {key: item for key, item in self._made.items() if item.made is not candidate.made}
        if candidate.made is not None:
            for file in Path(candidate.made.path).parent.glob(f"{Path(candidate.made.path).name}*"):
                file.unlink(missing_ok=True)
        candidate.made = None

    def judge(self, candidate: Candidate, *, quick: bool = False) -> Mapping[str, float]:
        """Its metrics; with ``quick`` on a few examples, for what is only compared."""
        if candidate.made is not None and (not candidate.values or (candidate.is_rough and not quick)):
            self.tell(f"judging {candidate.name}")
            try:
                found = self._judge.verdict(candidate.made.path, quick=quick)
                candidate.values, candidate.cautious, candidate.is_rough = found.values, found.cautious, quick
            except GraphoptError as err:
                candidate.outcome, candidate.reason = "failed", str(err)
        return candidate.values

    def measure(self, candidate: Candidate, *, factor: float = 1.0, drop: bool = True) -> None:
        """Its times beside the model of floats, where that is wanted."""
        if candidate.made is None or self.stopwatch is None:
            return
        self.tell(f"measuring {candidate.name}")
        try:
            candidate.times = self.stopwatch.measure(candidate.made.path, factor=factor, drop=drop)
        except GraphoptError as err:
            candidate.outcome, candidate.reason = "failed", str(err)
            return
        slow = any(item.dropped or item.ratio.speedup < _NOISE for item in candidate.times)
        candidate.outcome = "faster" if candidate.is_faster else "slower" if slow else "no faster"
