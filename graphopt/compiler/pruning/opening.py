"""The model that is given: opened, refused, prepared, and what of it can be pruned."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from graphopt.compiler.artifacts import DEFAULT_BACKEND, RunnableFile, judged_as_onnx
from graphopt.compiler.environment import Environment
from graphopt.compiler.pruning.request import PruneRequest
from graphopt.compiler.pruning.steps import Steps
from graphopt.compiler.pruning.units import Prunable, find_units
from graphopt.compiler.quantizing.layers import is_quantized
from graphopt.compiler.quantizing.workshop import Workshop
from graphopt.errors import PruningError
from graphopt.ir import Model
from graphopt.passes import Pipeline, PruningPlan, build_pass

__all__ = ["DEFAULT_PREPARE", "Start", "open_model", "steps_of", "units_of"]

#: Pipeline that a model goes through before, when neither somebody nor a plan states one.
DEFAULT_PREPARE: Final = "O2,separate-constants"
#: Criteria that are taken when nobody states one.
_WITH_DATA, _WITHOUT = "activation-energy", "l2"


@dataclass(frozen=True)
class Start:
    """The model as it came, as it was prepared, and what makes others of it.

    Attributes:
        original: as it came.
        prepared: what everything else is made of.
        prepare: text of the pipeline that made it.
        file: the original, to run.
        workshop: makes models.
        folder: for temporary files.
        applying: what prunes by a plan, ``None`` without one.
    """

    original: Model
    prepared: Model
    prepare: str
    file: RunnableFile
    workshop: Workshop
    folder: Path
    applying: Pipeline | None


def open_model(
    source: object, request: PruneRequest, environment: Environment, stack: ExitStack, tell: Callable[[str], None]
) -> Start:
    """A model, ready to be pruned.

    Args:
        source: as :func:`graphopt.prune` takes it.
        request: what is asked for.
        environment: plugins.
        stack: closes what is opened here.
        tell: told what is going on.

    Raises:
        PruningError: if models for the target can't be judged, or a plan can't be read.
        ModelError: if the model is broken.
        PipelineError: if a pipeline or target is unknown.
    """
    if not judged_as_onnx(environment, request.target):
        raise PruningError(
            f"models for target {request.target!r} are no ONNX files, so none can be judged; prune for --target onnx"
        )
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="graphopt-prune-")))
    plan = _plan(request)
    original = environment.lift(source)
    file = stack.enter_context(RunnableFile(source, DEFAULT_BACKEND, environment))
    workshop = Workshop(environment, request.target, folder, request.seed, tell)
    text = request.prepare
    if text is None:
        text = DEFAULT_PREPARE if plan is None else plan.prepare
    registry = environment.plugins.passes
    model, _records = workshop.run(original, Pipeline.from_text(text, registry))
    for known in (original, model):
        environment.context(workshop.backend).types.infer_model(known)
    applying = None
    if plan is not None:
        stated = not isinstance(request.plan, PruningPlan) and not request.exclude
        path = os.fspath(cast("str", request.plan)) if stated else plan.save(folder / "plan.json")
        applying = Pipeline.of(build_pass(registry["apply-pruning-plan"], {"plan": str(path)}))
    return Start(original, model, text, file, workshop, folder, applying)


def _plan(request: PruneRequest) -> PruningPlan | None:
    """The plan that is stated, without what is excluded."""
    stated = request.plan
    if stated is None:
        return None
    plan = stated if isinstance(stated, PruningPlan) else PruningPlan.load(cast("str", stated))
    for pattern in request.exclude:
        rest = plan.without([pattern])
        if len(rest.axes) == len(plan.axes) and len(rest.masks) == len(plan.masks):
            raise PruningError(
                f"exclude {pattern!r} fits no group and no weight of the plan; graphopt inspect shows them"
            )
    plan = plan.without(request.exclude) if request.exclude else plan
    if plan.is_empty:
        raise PruningError("nothing is left of the plan; leave out --exclude, or record another plan")
    return plan


def steps_of(start: Start, request: PruneRequest, *, has_data: bool) -> Steps:
    """What makes pipelines.

    Args:
        start: the model; of one that is quantized already nobody looks at activations unless asked for.
        request: what is asked for.
        has_data: whether activations can be looked at.

    Raises:
        PipelineError: if options are of passes that prune nothing.
    """
    environment, importance = start.workshop.environment, request.importance
    if importance == "auto":
        importance = _WITH_DATA if has_data and not is_quantized(start.prepared) else _WITHOUT
    steps = Steps(
        request.amount,
        environment.plugins.passes,
        importance,
        request.scope,
        request.include,
        request.exclude,
        request.round_to,
        request.min_channels,
        request.options,
    )
    steps.check_options()
    return steps


def units_of(start: Start, request: PruneRequest) -> Prunable:
    """What can be pruned; a plan knows that itself.

    Raises:
        PruningError: if nothing can, or a name fits nothing.
    """
    if start.applying is not None:
        return Prunable(())
    ctx = start.workshop.environment.context(start.workshop.backend)
    found = find_units(start.prepared.graph, request.amount, request.include, request.exclude, ctx.dim_roles)
    found.check(request.amount)
    return found
