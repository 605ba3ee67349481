"""``graphopt compare``: two models on the same inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphopt.cli.feeding import feeds_for
from graphopt.cli.options import AsJson, InputFile, Quiet, Seed, Sizes, parse_sizes
from graphopt.cli.terminal import progress, show, write_json
from graphopt.frontends.onnx import lift
from graphopt.numerics import Exact, Numerics, Reassociates
from graphopt.report.comparison_view import comparison_view
from graphopt.report.latency_view import LatencyRow, latency_rows
from graphopt.runtime import OrtRunner
from graphopt.runtime.base import Feeds
from graphopt.runtime.latency import measure_latency
from graphopt.verify.check import check_equivalence
from graphopt.verify.hints import model_hints
from graphopt.verify.opening import CheckOptions

__all__ = ["compare"]

_SAME, _DIFFERENT = 0, 1


def compare(
    one: Annotated[Path, typer.Argument(metavar="A", help="The model to compare with.", show_default=False)],
    two: Annotated[Path, typer.Argument(metavar="B", help="The other one.", show_default=False)],
    inputs: InputFile = None,
    seed: Seed = 0,
    sizes: Sizes = None,
    samples: Annotated[
        int, typer.Option("--samples", metavar="N", min=1, help="How many sets of inputs are generated.")
    ] = 4,
    rtol: Annotated[
        float,
        typer.Option(
            "--rtol",
            min=0.0,
            help="Difference allowed in float32, relative to an output's largest number; 0 allows none.",
        ),
    ] = 1e-4,
    latency: Annotated[bool, typer.Option("--latency/--no-latency", help="Measure both in turns.")] = True,
    threads: Annotated[
        int, typer.Option("--threads", "-t", min=1, help="Threads within an operator, for latency.")
    ] = 1,
    seconds: Annotated[float, typer.Option("--seconds", min=0.0, help="Time to measure latency for.")] = 3.0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Compare two models: outputs on the same inputs, and latency."""
    bound = parse_sizes(sizes)
    numerics: Numerics = Reassociates(rtol) if rtol else Exact()
    with progress(f"comparing {one} and {two}", wanted=not (quiet or as_json)) as tell:
        hints = model_hints(lift(one))
        lift(two)  # a broken file is bad input, not a difference
        tell("outputs")
        feeds = feeds_for(one, None, inputs=inputs, seed=seed, sizes=bound) if inputs is not None or bound else None
        verdict = check_equivalence(
            one, two, numerics=numerics, inputs=feeds, hints=hints, options=CheckOptions(seed=seed, samples=samples)
        )
        rows: list[LatencyRow] = []
        if latency and verdict.ok:
            tell("latency")
            feeds = feeds or feeds_for(one, None, inputs=None, seed=seed, sizes={})
            rows = _latencies(one, two, feeds, threads, seconds)
    if as_json:
        write_json({"verdict": verdict.to_json(), "latency": rows})
    elif not quiet:
        show(comparison_view(verdict, rows))
    return _SAME if verdict.ok else _DIFFERENT


def _latencies(one: Path, two: Path, feeds: Feeds, threads: int, seconds: float) -> list[LatencyRow]:
    """Latency of both with ONNX Runtime's optimizer on."""
    with (
        OrtRunner(one, optimize=True, threads=threads, low_memory=False) as first,
        OrtRunner(two, optimize=True, threads=threads, low_memory=False) as second,
    ):
        runners = {str(one): first, f"{two} (again)" if one == two else str(two): second}
        return latency_rows(
            measure_latency(runners, dict.fromkeys(runners, feeds), seconds=seconds, max_repeats=10_000)
        )
