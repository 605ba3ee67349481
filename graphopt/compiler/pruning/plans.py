"""Makes a plan of what pruning passes did, so that it can be saved and done again."""

from __future__ import annotations

from importlib.metadata import version

from graphopt.errors import PruningError
from graphopt.ir import Model
from graphopt.passes import (
    AxisPlan,
    Fixpoint,
    Instrumentation,
    PackedMask,
    Pass,
    PassContext,
    PassResult,
    Pipeline,
    PruningLog,
    PruningPlan,
    structure_digest,
)
from graphopt.passes.record import PassRecord, PipelineReport

__all__ = ["PlanRecorder", "record_plan"]


def record_plan(log: PruningLog, *, prepare: str = "", source: str = "") -> PruningPlan:
    """What was taken away, as a plan.

    Args:
        log: what the context of the passes noted (``PassContext.pruned``).
        prepare: text of the pipeline that the model went through before the first of them.
        source: :func:`graphopt.passes.structure_digest` of the model before that.

    Returns:
        A plan for the model as it was before the first of them; axes with the same indices of the same groups stand together. It is
        empty if nothing was taken away.

    Raises:
        PruningError: if the model was rewritten between two prunings so that one plan can't tell both.

    Example:
        >>> import numpy as np
        >>> from graphopt.passes import NotedAxis
        >>> log = PruningLog("0f", ["prune-channels"])
        >>> left = np.array([True, False, True, True])
        >>> log.note_axes([NotedAxis("w", 1, ("w",), left), NotedAxis("v", 0, ("w",), left)])
        >>> print(record_plan(log).summary())
        w: 3 of 4 kept, in w axis 1, v axis 0
    """
    if log.broken:
        raise PruningError(
            f"what was pruned is no plan: {log.broken}; prune once, or leave out what rewrites in between"
        )
    together: dict[tuple[tuple[str, ...], int, bytes], dict[str, tuple[int, ...]]] = {}
    for (name, axis), kept in log.kept.items():
        weights = together.setdefault((log.groups[name, axis], kept.size, kept.tobytes()), {})
        weights[name] = (*weights.get(name, ()), axis)
    axes = tuple(
        AxisPlan(groups, log.kept[next((name, places[0]) for name, places in weights.items())].copy(), weights)
        for (groups, _size, _bits), weights in together.items()
    )
    masks = {name: PackedMask.of(mask) for name, mask in log.masks.items() if not mask.all()}
    return PruningPlan(log.model, axes, masks, prepare, source, tuple(log.steps), version("graphopt"))


class PlanRecorder(Instrumentation):
    """Records what the pruning passes of a pipeline do.

    Where the check at the end of :func:`graphopt.optimize` fails and rewrites are left out, the plan is that of the run before.

    Attributes:
        plan: of the last pipeline that was watched, ``None`` before, and where there is none.

    Example:
        >>> import graphopt
        >>> from graphopt.data import digits_model
        >>> recorder = PlanRecorder()
        >>> _ = graphopt.optimize(
        ...     digits_model(), pipeline="O2,prune-channels", check=False, instrumentations=[recorder]
        ... )
        >>> recorder.plan.steps
        ('prune-channels',)
    """

    def __init__(self) -> None:
        self.plan: PruningPlan | None = None
        self._source = self._prepare = ""
        self._found = False
        self._pipeline = Pipeline(())
        self._ctx = PassContext()

    def before_pipeline(self, pipeline: Pipeline, model: Model, ctx: PassContext) -> None:
        """Note what the model is."""
        self.plan, self._found = None, False
        self._pipeline, self._ctx = pipeline, ctx
        self._source, self._prepare = structure_digest(model), ""

    def after_pass(self, item: Pass, model: Model, result: PassResult, record: PassRecord) -> None:
        """Note what came before the first pass that took something away."""
        if self._ctx.pruned.model and not self._found:
            self._found, self._prepare = True, self._before(item)

    def after_pipeline(self, model: Model, report: PipelineReport) -> None:
        """Make the plan."""
        log = self._ctx.pruned
        if log.model and not log.broken:
            self.plan = record_plan(log, prepare=self._prepare, source=self._source)

    def _before(self, item: Pass) -> str:
        items = self._pipeline.items
        for place, one in enumerate(items):
            inner = Pipeline((one,)).passes() if isinstance(one, Fixpoint) else (one,)
            if any(found is item for found in inner):
                return Pipeline(items[:place]).to_text()
        return ""
