"""``graphopt bench``: latency of models, in turns."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from graphopt.cli.feeding import feeds_for
from graphopt.cli.options import AsJson, InputFile, Seed, Sizes, UsageError, parse_sizes
from graphopt.cli.terminal import progress, show, write_json
from graphopt.report.latency_view import latency_rows, latency_table
from graphopt.runtime import OrtRunner
from graphopt.runtime.latency import measure_latency

__all__ = ["bench"]


def bench(
    models: Annotated[
        list[Path], typer.Argument(metavar="MODEL", help="Models with the same inputs.", show_default=False)
    ],
    inputs: InputFile = None,
    seed: Seed = 0,
    sizes: Sizes = None,
    threads: Annotated[int, typer.Option("--threads", "-t", min=1, help="Threads within an operator.")] = 1,
    warmup: Annotated[int, typer.Option("--warmup", min=0, help="Runs of each model that do not count.")] = 3,
    repeats: Annotated[
        int | None,
        typer.Option("--repeats", metavar="N", min=1, help="Runs of each model that count.", show_default=False),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.0, help="Time for all of them, without --repeats.")
    ] = 5.0,
    raw: Annotated[bool, typer.Option("--no-ort-optimizer", help="Run the models as they are.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure the latency of one or several models, interleaved."""
    names = [str(model) for model in models]
    if len(set(names)) < len(names):
        raise UsageError(f"a model is named twice: {', '.join(names)}; copy it to measure it against itself")
    bound = parse_sizes(sizes)
    with progress(f"measuring {', '.join(names)}", wanted=not as_json) as tell, ExitStack() as open_models:
        feeds = feeds_for(models[0], None, inputs=inputs, seed=seed, sizes=bound)
        runners = {
            name: open_models.enter_context(OrtRunner(name, optimize=not raw, threads=threads, low_memory=False))
            for name in names
        }
        tell(f"{len(names)} in turns")
        times = measure_latency(
            runners, dict.fromkeys(names, feeds), warmup=warmup, repeats=repeats, seconds=seconds, max_repeats=10_000
        )
    rows = latency_rows(times)
    if as_json:
        write_json({"threads": threads, "warmup": warmup, "models": rows})
    else:
        show(latency_table(rows))
