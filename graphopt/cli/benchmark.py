"""``graphopt bench``: latency of models, in one runtime or several, in turns."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from graphopt.builtin_plugin import builtin_plugins
from graphopt.cli.options import (
    AsJson,
    CoefficientsFile,
    InputFile,
    NoPlugin,
    Seed,
    SessionFile,
    Sizes,
    UsageError,
    parse_sizes,
    read_session,
    refuse_settings_elsewhere,
)
from graphopt.cli.terminal import progress, show, write_json
from graphopt.compiler.artifacts import DEFAULT_BACKEND, RunnableFile, backends_for
from graphopt.compiler.environment import Environment
from graphopt.compiler.feeding import feeds_for, feeds_of_model
from graphopt.passes import SessionSettings
from graphopt.report.latency_view import latency_rows, latency_table
from graphopt.runtime import Runner, RunOptions
from graphopt.runtime.latency import measure_latency

__all__ = ["bench"]


def bench(
    models: Annotated[
        list[Path] | None,
        typer.Argument(metavar="MODEL...", help="Models with the same inputs; with --fit any.", show_default=False),
    ] = None,
    inputs: InputFile = None,
    seed: Seed = 0,
    sizes: Sizes = None,
    backend: Annotated[
        str,
        typer.Option("--backend", metavar="NAME[,NAME]", help="What runs each of them; several run in turns too."),
    ] = DEFAULT_BACKEND,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            "-t",
            min=1,
            help="Threads within an operator. Default: 1, or what --options says.",
            show_default=False,
        ),
    ] = None,
    warmup: Annotated[int, typer.Option("--warmup", min=0, help="Runs of each model that do not count.")] = 3,
    repeats: Annotated[
        int | None,
        typer.Option("--repeats", metavar="N", min=1, help="Runs of each model that count.", show_default=False),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.0, help="Time for all of them, without --repeats.")
    ] = 5.0,
    raw: Annotated[bool, typer.Option("--no-ort-optimizer", help="Run the models as they are.")] = False,
    session: SessionFile = None,
    fit_costs: Annotated[
        bool, typer.Option("--fit", help="Fit the cost model to this machine instead, on these models or shipped ones.")
    ] = False,
    coefficients: CoefficientsFile = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace the file of --coefficients.")] = False,
    no_plugin: NoPlugin = None,
    as_json: AsJson = False,
) -> None:
    """Measure the latency of one or several models, interleaved."""
    models = models or []
    names = [str(model) for model in models]
    if len(set(names)) < len(names):
        raise UsageError(f"a model is named twice: {', '.join(names)}; copy it to measure it against itself")
    backends = backend.split(",")
    if not all(backends) or len(set(backends)) < len(backends):
        raise UsageError(f"--backend {backend!r} names none, or one twice; expected such as onnxruntime,openvino")
    bound = parse_sizes(sizes)
    if not fit_costs and (not models or coefficients is not None or force):
        raise UsageError(
            "no model is named; see graphopt bench --help"
            if not models
            else "--coefficients and --force are for --fit; add it, or leave them out"
        )
    if session is not None:
        refuse_settings_elsewhere(*backends)
    environment = Environment(builtin_plugins(no_plugin or ()))
    if fit_costs:
        for name, given in {
            "--options": session,
            "--repeats": repeats,
            "--no-ort-optimizer": raw or None,
            "--backend": None if backends == [DEFAULT_BACKEND] else backend,
        }.items():
            if given is not None:
                raise UsageError(f"{name} has no meaning with --fit; leave one of them out")
        from graphopt.cli.fitting import fit  # lazily: measuring latency does without

        fit(
            models,
            environment=environment,
            inputs=inputs,
            seed=seed,
            sizes=bound,
            threads=threads or 1,
            seconds=seconds,
            output=coefficients,
            force=force,
            as_json=as_json,
        )
        return
    settings = read_session(session).merged(SessionSettings(threads=threads))
    options = RunOptions(settings.threads or 1, optimize=not raw, session=settings)
    with progress(f"measuring {', '.join(names)}", wanted=not as_json) as tell, ExitStack() as stack:
        files = [
            stack.enter_context(RunnableFile(name, runs, environment, sizes=bound, inputs=inputs))
            for name in names
            for runs in backends_for(name, backends, environment)
        ]
        tell("loading")
        runners: dict[str, Runner] = {}
        where: dict[str, str] = {}
        for file in files:
            label = file.source if len(backends) == 1 else f"{file.source} in {file.backend}"
            runners[label] = stack.enter_context(file.open(options))
            where[label] = file.backend
        first = files[0]
        if first.is_model:
            feeds = feeds_of_model(models[0], environment=environment, inputs=inputs, seed=seed, sizes=bound)
        else:
            runner = next(iter(runners.values()))
            feeds = feeds_for(first, runner, environment=environment, inputs=inputs, seed=seed, sizes=bound)
        tell(f"{len(runners)} in turns")
        times = measure_latency(
            runners, dict.fromkeys(runners, feeds), warmup=warmup, repeats=repeats, seconds=seconds, max_repeats=10_000
        )
    rows = latency_rows(times, where)
    if as_json:
        found = {"threads": options.threads, "warmup": warmup, "models": rows}
        write_json(found if session is None else found | {"session": settings.to_dict()})
    else:
        show(latency_table(rows))
