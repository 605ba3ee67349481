"""Works on the models of a fleet: one job each for an executor, and what comes back is put in its place and into the manifest."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, as_completed
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from graphopt.backends.onnx.atomic import new_files
from graphopt.compiler.environment import Environment
from graphopt.compiler.executors import shares_files
from graphopt.compiler.fleets.fleet_report import FleetModel, Status
from graphopt.compiler.fleets.job import FleetJob, JobResult, run_job
from graphopt.compiler.fleets.manifest import bytes_to_send
from graphopt.compiler.fleets.plan import FleetPlan, PlannedModel
from graphopt.errors import GraphoptError, OutputError, VerificationError

__all__ = ["FleetWork", "Told"]

Told = Callable[[FleetModel], None]


class FleetWork:
    """Sends jobs to an executor and takes what comes back.

    Args:
        plan: what is to be done.
        environment: plugins.
        job: what all jobs have in common.
        inputs: an ``.npz`` file for all models, or a folder with some of them.
        told: told of each model as it ends.
    """

    def __init__(
        self,
        plan: FleetPlan,
        environment: Environment,
        job: FleetJob,
        inputs: str | os.PathLike[str] | None,
        told: Told,
    ) -> None:
        self._plan = plan
        self._environment = environment
        self._job = job
        self._inputs = None if inputs is None else Path(inputs)
        self._told = told
        self._drafts = ""

    @contextmanager
    def drafting(self) -> Iterator[None]:
        """Make the folder, and one in it where results are until they are complete and in the manifest.

        Raises:
            OutputError: if a folder can't be made.
        """
        folder = self._plan.folder
        if folder is None:
            yield
            return
        is_new = not folder.exists()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            drafts = tempfile.TemporaryDirectory(dir=folder, prefix=".graphopt-", ignore_cleanup_errors=True)
        except OSError as err:
            raise OutputError(
                f"folder {str(folder)!r} can't be written: {err.strerror or err}; choose another one"
            ) from err
        try:
            with drafts as name:
                self._drafts = os.path.abspath(name)
                yield
        finally:
            if is_new and not any(folder.iterdir()):  # nothing came of it
                folder.rmdir()

    def skip(self, model: PlannedModel) -> FleetModel:
        """A model that is there already."""
        known = self._plan.manifest.models[model.name].summary
        return self._tell(FleetModel(str(model.source), model.name, "skipped", summary=known))

    def run(self, models: Iterable[PlannedModel], executor: Executor) -> dict[PlannedModel, FleetModel]:
        """What became of each model."""
        here = shares_files(executor)
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
            output = None if folder is None else os.path.join(self._drafts, model.name)
            if output is not None:
                os.makedirs(os.path.dirname(output), exist_ok=True)
            return replace(job, output=output, inputs=None if inputs is None else os.path.abspath(inputs))
        name = "" if folder is None else Path(model.name).name
        return replace(
            job,
            data=bytes_to_send(model.source, self._environment),
            name=name,
            inputs_data=None if inputs is None else inputs.read_bytes(),
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
            if self._plan.folder is not None:
                self._keep(model, result, self._plan.folder)
        except VerificationError as err:
            return self._failed(model, err, "wrong")
        except Exception as err:  # noqa: BLE001 - one model, or one machine: the others go on
            return self._failed(model, err)
        ended = FleetModel(str(model.source), model.name, "done", summary=result.summary, seconds=result.seconds)
        return self._tell(ended)

    def _failed(self, model: PlannedModel, err: Exception, status: Status = "failed") -> FleetModel:
        text = str(err) if isinstance(err, GraphoptError) else f"{type(err).__name__}: {err}"
        return self._tell(FleetModel(str(model.source), model.name, status, " ".join(text.split())))

    def _keep(self, model: PlannedModel, result: JobResult, folder: Path) -> None:
        """Put files in their places. The manifest knows them first, so one that was interrupted here is made again, not taken for strange.

        Raises:
            OutputError: if a file appeared there meanwhile, or can't be written.
        """
        place = (folder / model.name).resolve().parent
        place.mkdir(parents=True, exist_ok=True)
        paths = [place / name for name in result.files]
        for path in paths:
            if path.exists() and not self._job.force:
                raise OutputError(f"{str(path)!r} exists already; allow it to be replaced (--force)")
        if model.wanted is not None and result.versions != model.wanted.versions:
            raise OutputError(
                f"it was made by {_spelled(result.versions)}, here are {_spelled(model.wanted.versions)}; install the same there"
            )
        if model.wanted is not None:
            self._plan.manifest.models[model.name] = replace(model.wanted, files=result.files, summary=result.summary)
            self._plan.manifest.write(folder)
        if result.sent:
            with new_files(paths) as files:
                for file, data in zip(files, result.sent.values(), strict=True):
                    file.write(data)
            return
        for path in paths:
            os.replace(Path(self._drafts, model.name).with_name(path.name), path)

    def _tell(self, model: FleetModel) -> FleetModel:
        self._told(model)
        return model


def _spelled(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items()) or "unknown versions"
