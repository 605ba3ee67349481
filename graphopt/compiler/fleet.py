"""Several models optimized in one go: what is done already is skipped, what fails does not stop the others, one report tells all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future, as_completed
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from graphopt.backends.onnx.atomic import new_files
from graphopt.builtin_plugin import builtin_plugins
from graphopt.compiler.arguments import check_arguments, check_disabled
from graphopt.compiler.artifacts import suffix_of
from graphopt.compiler.environment import Environment
from graphopt.compiler.executors import open_executor, shares_files, usable_cores
from graphopt.compiler.fleet_job import FleetJob, JobResult, run_job
from graphopt.compiler.fleet_manifest import digest_of_file
from graphopt.compiler.fleet_plan import FleetPlan, PlannedModel, plan_fleet
from graphopt.errors import GraphoptError, OutputError, VerificationError
from graphopt.passes import Pipeline

__all__ = ["FleetModel", "FleetReport", "Status", "optimize_fleet"]

Status = Literal["done", "skipped", "wrong", "failed"]
Told = Callable[["FleetModel"], None]


@dataclass(frozen=True, slots=True)
class FleetModel:
    """What became of a model.

    Attributes:
        source: the model.
        name: of the result, relative to the folder.
        status: ``done`` now, ``skipped`` because it was done before, ``wrong`` for a result that failed its check, ``failed``.
        reason: why it failed, in a line.
        summary: nodes and bytes before and after, the check, what was left out, notes.
        seconds: how long it took.
    """

    source: str
    name: str
    status: Status
    reason: str = ""
    summary: dict[str, object] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(slots=True)
class FleetReport:
    """What became of all models.

    Attributes:
        models: in the order they were named.
        folder: where the results are, ``""`` for nowhere.
        pipeline: text of what ran.
        target: name of the backend.
    """

    models: list[FleetModel]
    folder: str
    pipeline: str
    target: str

    def count(self, status: Status) -> int:
        """How many models ended like this."""
        return sum(model.status == status for model in self.models)


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
    fleet = _Fleet(plan, job, inputs, told or (lambda model: None))
    for model in plan.models:
        if model.done:
            found[model] = fleet.skip(model)
    todo = [model for model in plan.models if not model.done]
    if todo:
        with ExitStack() as stack:
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


class _Fleet:
    """Sends jobs to an executor and takes what comes back."""

    def __init__(self, plan: FleetPlan, job: FleetJob, inputs: str | os.PathLike[str] | None, told: Told) -> None:
        self._plan = plan
        self._job = job
        self._inputs = None if inputs is None else Path(inputs)
        self._told = told

    def skip(self, model: PlannedModel) -> FleetModel:
        """A model that is there already."""
        known = self._plan.manifest.models[model.name].summary
        return self._tell(FleetModel(str(model.source), model.name, "skipped", summary=known))

    def run(self, models: Iterable[PlannedModel], executor: Executor) -> dict[PlannedModel, FleetModel]:
        """What became of each model."""
        here = shares_files(executor)
        folder = self._plan.folder
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as err:
                raise OutputError(
                    f"folder {str(folder)!r} can't be made: {err.strerror or err}; choose another one"
                ) from err
        found: dict[PlannedModel, FleetModel] = {}
        futures: dict[Future[JobResult], PlannedModel] = {}
        try:
            for model in models:
                try:
                    futures[executor.submit(run_job, self._job_of(model, here=here))] = model
                except (GraphoptError, OSError) as err:
                    found[model] = self._failed(model, err)
            for future in as_completed(futures):
                found[futures[future]] = self._ended(futures[future], future)
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        return found

    def _job_of(self, model: PlannedModel, *, here: bool) -> FleetJob:
        folder, inputs = self._plan.folder, self._inputs_of(model)
        job = replace(self._job, source=os.path.abspath(model.source))
        if here:
            output = None if folder is None else os.path.abspath(folder / model.name)
            return replace(job, output=output, inputs=None if inputs is None else os.path.abspath(inputs))
        name = "" if folder is None else Path(model.name).name
        return replace(
            job, data=_bytes_of(model), name=name, inputs_data=None if inputs is None else inputs.read_bytes()
        )

    def _inputs_of(self, model: PlannedModel) -> Path | None:
        path = self._inputs
        if path is None or not path.is_dir():
            return path
        own = path / f"{model.source.stem}.npz"
        return own if own.exists() else None

    def _ended(self, model: PlannedModel, future: Future[JobResult]) -> FleetModel:
        try:
            result = future.result()
            if result.sent and self._plan.folder is not None:
                self._write(model, result, self._plan.folder)
        except VerificationError as err:
            return self._failed(model, err, "wrong")
        except Exception as err:  # noqa: BLE001 - one model, or one machine: the others go on
            return self._failed(model, err)
        if self._plan.folder is not None and model.wanted is not None:
            self._plan.manifest.models[model.name] = replace(model.wanted, files=result.files, summary=result.summary)
            self._plan.manifest.write(self._plan.folder)
        ended = FleetModel(str(model.source), model.name, "done", summary=result.summary, seconds=result.seconds)
        return self._tell(ended)

    def _failed(self, model: PlannedModel, err: Exception, status: Status = "failed") -> FleetModel:
        text = str(err) if isinstance(err, GraphoptError) else f"{type(err).__name__}: {err}"
        return self._tell(FleetModel(str(model.source), model.name, status, " ".join(text.split())))

    def _write(self, model: PlannedModel, result: JobResult, folder: Path) -> None:
        place = (folder / model.name).resolve().parent
        place.mkdir(parents=True, exist_ok=True)
        paths = [place / name for name in result.sent]
        for path in paths:
            if path.exists() and not self._job.force:
                raise OutputError(f"{str(path)!r} exists already; allow it to be replaced (--force)")
        with new_files(paths) as files:
            for file, data in zip(files, result.sent.values(), strict=True):
                file.write(data)

    def _tell(self, model: FleetModel) -> FleetModel:
        self._told(model)
        return model


def _bytes_of(model: PlannedModel) -> bytes:
    """A model for another machine.

    Raises:
        OutputError: if its weights are in files of their own.
    """
    if model.wanted is not None and model.wanted.digest != digest_of_file(model.source):
        raise OutputError(
            f"{str(model.source)!r} has weights in files beside it, which are not sent to other machines; use --executor processes"
        )
    return model.source.read_bytes()
