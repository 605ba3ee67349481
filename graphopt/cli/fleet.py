"""``graphopt optimize`` with several models, or a folder of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from graphopt.cli.terminal import show, write_json
from graphopt.compiler.fleets.fleet import FleetModel, FleetReport, optimize_fleet
from graphopt.compiler.fleets.plan import FleetPlan
from graphopt.passes import Pipeline
from graphopt.report.fleet_view import fleet_dict, fleet_view

__all__ = ["optimize_models"]

_WRONG, _FAILED = 1, 2


def optimize_models(
    models: Sequence[Path],
    output: Path | None,
    *,
    level: str,
    target: str,
    pipeline: Pipeline | str | None,
    options: Mapping[str, Mapping[str, object]],
    check: bool,
    guard: bool,
    inputs: Path | None,
    seed: int,
    disabled: Sequence[str],
    external_data: bool | None,
    force: bool,
    executor: str,
    jobs: int | None,
    blocked: Sequence[str],
    as_json: bool,
    quiet: bool,
) -> None:
    """Optimize them all, and report; see :func:`graphopt.compiler.fleets.fleet.optimize_fleet`.

    Raises:
        Exit: with code 2 if a model could not be optimized, else 1 if a result failed its check.
    """
    start = time.perf_counter()
    with _progress(wanted=not (quiet or as_json)) as bar:
        report = optimize_fleet(
            models,
            output,
            level=level,
            target=target,
            pipeline=pipeline,
            options=options,
            check=check,
            guard=guard,
            inputs=inputs,
            seed=seed,
            disabled=disabled,
            external_data=external_data,
            force=force,
            executor=executor,
            jobs=jobs,
            blocked=blocked,
            begun=bar.begun,
            told=bar.told,
        )
    seconds = time.perf_counter() - start
    if as_json:
        write_json(fleet_dict(report, seconds))
    elif not quiet:
        show(fleet_view(report, seconds))
    else:
        _tell_failures(report)
    if report.count("failed"):
        raise typer.Exit(_FAILED)
    if report.count("wrong"):
        raise typer.Exit(_WRONG)


def _tell_failures(report: FleetReport) -> None:
    """What ``--quiet`` does not hide."""
    from graphopt.report.layout import printable

    for model in report.models:
        if model.reason:
            sys.stderr.write(f"graphopt: {printable(model.source)}: {printable(model.reason)}\n")


class _Bar:
    """Takes what happens, and shows it if there is something to show it with."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._task = None if progress is None else progress.add_task("planning", total=None)

    def begun(self, plan: FleetPlan) -> None:
        """The number of models is known."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, total=len(plan.models), description="optimizing")

    def told(self, model: FleetModel) -> None:
        """A model ended."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, advance=1, description=f"{Path(model.source).name}: {model.status}")


@contextmanager
def _progress(*, wanted: bool) -> Iterator[_Bar]:
    if not wanted or not sys.stderr.isatty():
        yield _Bar(None)
        return
    texts = TextColumn("{task.description}", markup=False)
    with Progress(
        texts, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=Console(file=sys.stderr), transient=True
    ) as progress:
        yield _Bar(progress)
