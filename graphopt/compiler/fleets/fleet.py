"""Several models optimized in one go: what is done already is skipped, what fails does not stop the others, one report tells all."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from pathlib import Path

from graphopt.builtin_plugin import builtin_plugins
from graphopt.compiler.arguments import check_arguments, check_disabled
from graphopt.compiler.artifacts import suffix_of
from graphopt.compiler.environment import Environment
from graphopt.compiler.executors import check_executor, open_executor, usable_cores
from graphopt.compiler.fleets.fleet_report import FleetModel, FleetReport
from graphopt.compiler.fleets.job import FleetJob
from graphopt.compiler.fleets.plan import FleetPlan, PlannedModel, plan_fleet
from graphopt.compiler.fleets.work import FleetWork, Told
from graphopt.passes import Pipeline

__all__ = ["FleetModel", "FleetReport", "optimize_fleet"]


def optimize_fleet(
    models: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str] | None = None,
    *,
    level: str = "O2",
    target: str = "onnxruntime",
    pipeline: Pipeline | str | None = None,
    options: Mapping[str, Mapping[str, object]] | None = None,
    check: bool = True,
    guard: bool = True,
    inputs: str | os.PathLike[str] | None = None,
    seed: int = 0,
    disabled: Sequence[str] = (),
    external_data: bool | None = None,
    force: bool = False,
    executor: Executor | str = "processes",
    jobs: int | None = None,
    blocked: Sequence[str] = (),
    begun: Callable[[FleetPlan], None] | None = None,
    told: Told | None = None,
) -> FleetReport:
    """Optimize several models, and save each as soon as it is checked.

    The folder keeps a manifest. A model that it holds is skipped when the original, pipeline, target, check and versions are the same and
    its files are as they were written, so a run that was interrupted goes on where it stopped.

    Args:
        models: files, and folders whose models are all meant; the results of these keep their places in the folder.
        output: folder for the results, made when it is not there; ``None`` only makes the report.
        level: as for :func:`graphopt.optimize`, like what follows.
        target: name of a backend.
        pipeline: what to run instead of a level.
        options: of passes, by pass and option.
        check: whether each result is compared with its original.
        guard: whether fused kernels of ONNX Runtime are counted, with the check.
        inputs: an ``.npz`` file for all models, or a folder with ``NAME.npz`` for some of them.
        seed: of all random numbers.
        disabled: passes or rules to leave out.
        external_data: whether weights go to files beside the models, ``None`` lets the size decide.
        force: whether files that are there may be replaced.
        executor: any of ``concurrent.futures``, or the name of one (``processes``, ``threads``, ``dask://HOST:PORT``). One that is not
            of this machine is sent the models and sends back the results.
        jobs: how many models at the same time, where that is decided here; as many as there are cores by default.
        blocked: plugins that are not to be used.
        begun: told what is to be done, before it is.
        told: told of each model as it ends, skipped ones first.

    Raises:
        ModelError: if there is no such model. What is wrong with a model is told in its part of the report instead.
        OutputError: if names clash, or a file would be replaced that may not be.
        PipelineError: if a level, pass, rule or option is unknown.
        ExecutionError: if there is no such executor.
    """
    plugins = builtin_plugins(tuple(blocked))
    check_arguments(
        level=level,
        target=target,
        pipeline=pipeline,
        options=options,
        seed=seed,
        disabled=disabled,
        instrumentations=(),
        bisect_limit=None,
        plugins=plugins,
    )
    if isinstance(executor, str):
        check_executor(executor)
    environment = Environment(plugins)
    rules = check_disabled(plugins, disabled)
    chosen = environment.pipeline(pipeline, level, options, [name for name in disabled if name not in rules])
    environment.backend(target)
    job = FleetJob(
        "",
        chosen.to_text(),
        target,
        check=check,
        guard=guard,
        seed=seed,
        disabled=tuple(sorted(rules)),
        external_data=external_data,
        force=force,
        blocked=tuple(blocked),
    )
    plan = plan_fleet(
        [Path(path) for path in models],
        None if output is None else Path(output),
        environment,
        _settings(job, inputs),
        suffix=suffix_of(environment, target),
        force=force,
    )
    if begun is not None:
        begun(plan)
    report = FleetReport([], "" if output is None else os.fspath(output), job.pipeline, target)
    found: dict[PlannedModel, FleetModel] = {}
    fleet = FleetWork(plan, environment, job, inputs, told or (lambda model: None))
    for model in plan.models:
        if model.done:
            found[model] = fleet.skip(model)
    todo = [model for model in plan.models if not model.done]
    if todo:
        with ExitStack() as stack:
            stack.enter_context(fleet.drafting())
            if isinstance(executor, str):
                executor = stack.enter_context(open_executor(executor, min(jobs or usable_cores(), len(todo))))
            found |= fleet.run(todo, executor)
    report.models = [found[model] for model in plan.models]
    return report


def _settings(job: FleetJob, inputs: str | os.PathLike[str] | None) -> dict[str, str]:
    """What decides, besides the model and versions, what a result is."""
    given = {} if inputs is None else {"inputs": os.path.abspath(inputs)}
    return {
        "pipeline": job.pipeline,
        "target": job.target,
        "check": str(job.check).lower(),
        "guard": str(job.guard).lower(),
        "seed": str(job.seed),
        "disabled": ",".join(job.disabled),
        "external_data": "by size" if job.external_data is None else str(job.external_data).lower(),
    } | given
