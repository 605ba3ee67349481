"""Models that were pruned, and recovered: made, judged and measured beside the model before it."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from graphopt.compiler.pruning.counting import Size, size_of, sized
from graphopt.compiler.quantizing.candidates import Stopwatch
from graphopt.compiler.quantizing.judge import Judge
from graphopt.compiler.quantizing.workshop import Made, Workshop
from graphopt.errors import GraphoptError
from graphopt.ir import Model, clone_model
from graphopt.passes import CalibrationSource, Memory, PassRecord, Pipeline, PruningLog, Reference
from graphopt.runtime.base import Feeds
from graphopt.runtime.paired import PairedTimes

__all__ = ["Trial", "Trials"]

_EMPTY: Final = Pipeline(())


@dataclass
class Trial:
    """A model that something was taken from.

    Attributes:
        name: for people.
        pipeline: that made it from the prepared model.
        model: its IR before legalization, ``None`` when it failed.
        reference: the model before, as passes that recover take it; ``None`` if nothing was taken.
        log: what was taken.
        passes: what each pass did.
        reason: why it failed, ``""`` when it did not.
        made: legalized and on disk.
        values: metrics on held-out examples, empty when nobody asked.
        times: beside the prepared model, ``None`` when nobody asked.
    """

    name: str
    pipeline: Pipeline
    model: Model | None = None
    reference: Reference | None = None
    log: PruningLog = field(default_factory=PruningLog)
    passes: tuple[PassRecord, ...] = ()
    reason: str = ""
    made: Made | None = None
    values: dict[str, float] = field(default_factory=dict)
    times: list[PairedTimes] | None = None

    @property
    def latency(self) -> float | None:
        """Time of a run over that of the prepared model, ``None`` when not measured."""
        if not self.times:
            return None
        return math.exp(statistics.fmean(-math.log(max(item.ratio.speedup, 1e-9)) for item in self.times))


class Trials:
    """Makes, judges and measures.

    Args:
        model: prepared; it is not changed.
        workshop: legalizes and saves.
        judge: has the held-out examples, ``None`` without data.
        feeds: an example of inputs, of whose sizes operations are counted.
        calibration: data for passes.
        tell: told what is going on.

    Attributes:
        stopwatch: measures beside the prepared model; ``None`` to do without.
    """

    def __init__(
        self,
        model: Model,
        workshop: Workshop,
        judge: Judge | None,
        feeds: Feeds,
        calibration: CalibrationSource | None,
        tell: Callable[[str], None],
    ) -> None:
        self.model = model
        self.workshop = workshop
        self._judge = judge
        self._feeds = feeds
        self.calibration = calibration
        self.tell = tell
        self.stopwatch: Stopwatch | None = None
        self._memories: dict[int, Memory] = {}

    @functools.cached_property
    def whole(self) -> Size:
        """How large the prepared model is."""
        return size_of(self.sized(self.model))

    def size(self, trial: Trial) -> Size:
        """How large a model is that was made."""
        assert trial.model is not None, "what failed has no size"
        return size_of(self.sized(trial.model))

    def sized(self, model: Model) -> Model:
        """A copy of a model with numbers for sizes."""
        return sized(model, self._feeds, self.workshop.environment.context(self.workshop.backend).types)

    def prune(self, name: str, pipeline: Pipeline, *, calibration: CalibrationSource | None = None) -> Trial:
        """The prepared model after a pipeline; one that fails says why.

        Args:
            name: for people.
            pipeline: that prunes.
            calibration: other data than that of all trials.
        """
        self.tell(name)
        trial = Trial(name, pipeline)
        self._run(trial, self.model, pipeline, None, calibration or self.calibration)
        return trial

    def recover(self, trial: Trial, pipeline: Pipeline, *, calibration: CalibrationSource | None = None) -> Trial:
        """A pruned model after a pipeline that recovers; one that fails says why.

        Args:
            trial: it.
            pipeline: that recovers.
            calibration: other data than that of all trials.
        """
        assert trial.model is not None, "what failed can't recover"
        self.tell(f"recovering {trial.name}")
        found = Trial(trial.name, trial.pipeline + pipeline)
        self._run(found, trial.model, pipeline, trial.reference, calibration or self.calibration)
        found.passes, found.log = (*trial.passes, *found.passes), trial.log
        return found

    def _run(
        self,
        trial: Trial,
        model: Model,
        pipeline: Pipeline,
        reference: Reference | None,
        calibration: CalibrationSource | None,
    ) -> None:
        environment = self.workshop.environment
        copy = clone_model(model)
        ctx = environment.context(self.workshop.backend, calibration=calibration, progress=self.tell)
        ctx.reference, ctx.memory = reference, self._memories.setdefault(id(calibration), Memory())
        try:
            trial.passes = tuple(environment.run_pipeline(copy, pipeline, ctx).records)
        except GraphoptError as err:
            trial.reason = str(err)
            return
        trial.model, trial.reference, trial.log = copy, ctx.reference, ctx.pruned

    def make(self, trial: Trial) -> Made:
        """The model on disk.

        Raises:
            GraphoptError: if the target can't have a node.
        """
        if trial.made is None:
            assert trial.model is not None, "what failed is not made"
            trial.made = self.workshop.make(trial.model, _EMPTY)
        return trial.made

    def judge(self, trial: Trial) -> Mapping[str, float]:
        """Its metrics on held-out examples, empty without data.

        Raises:
            GraphoptError: if it can't be made or run.
        """
        if not trial.values and self._judge is not None:
            trial.values = self._judge.judge(self.make(trial).path)
        return trial.values

    def measure(self, trial: Trial, *, factor: float = 1.0) -> float | None:
        """Its latency over that of the prepared model, measured in turns; ``None`` where nobody measures.

        Raises:
            GraphoptError: if it can't be made or run.
        """
        if self.stopwatch is not None and trial.times is None:
            self.tell(f"measuring {trial.name}")
            trial.times = self.stopwatch.measure(self.make(trial).path, factor=factor, drop=False)
        return trial.latency

    def drop(self, trial: Trial) -> None:
        """Forget the files of a model; they take room on disk."""
        if trial.made is not None:
            for file in Path(trial.made.path).parent.glob(f"{Path(trial.made.path).name}*"):
                file.unlink(missing_ok=True)
            trial.made = None
