"""Makes a plan of what pruning passes did, so that it can be saved and done again."""

from __future__ import annotations

from importlib.metadata import version

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
from graphopt.passes.record import PassRecord

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

    Example:
        >>> import numpy as np
        >>> from graphopt.passes import NotedAxis
        >>> log = PruningLog("0f", ["prune-channels"])
        >>> left = np.array([True, False, True, True])
        >>> log.note_axes([NotedAxis("w", 1, ("w",), left), NotedAxis("v", 0, ("w",), left)])
        >>> print(record_plan(log).summary())
        w: 3 of 4 kept, in w axis 1, v axis 0
    """
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
        plan: of the last pipeline that was watched, ``None`` before.

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
        self._pipeline = Pipeline(())
        self._ctx = PassContext()

    def before_pipeline(self, pipeline: Pipeline, model: Model, ctx: PassContext) -> None:
        """Note what the model is."""
        self.plan = None
        self._pipeline, self._ctx = pipeline, ctx
        self._source, self._prepare = structure_digest(model), ""

    def after_pass(self, item: Pass, model: Model, result: PassResult, record: PassRecord) -> None:
        """Note what came before the first pass that took something away; the plan is that of what was taken away so far."""
        if not self._ctx.pruned.model:
            return
        if self.plan is None:
            self._prepare = self._before(item)
        self.plan = record_plan(self._ctx.pruned, prepare=self._prepare, source=self._source)

    def _before(self, item: Pass) -> str:
        items = self._pipeline.items
        for place, one in enumerate(items):
            inner = Pipeline((one,)).passes() if isinstance(one, Fixpoint) else (one,)
            if any(found is item for found in inner):
                return Pipeline(items[:place]).to_text()
        return ""
