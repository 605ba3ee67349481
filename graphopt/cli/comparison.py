"""``graphopt compare``: two models, or one model in two runtimes, on the same inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer

from graphopt.builtin_plugin import builtin_plugins
from graphopt.cli.layers import LayerOutput, compare_by_layer
from graphopt.cli.options import AsJson, InputFile, NoPlugin, Quiet, Seed, Sizes, UsageError, check_rtol, parse_sizes
from graphopt.cli.terminal import progress, show, write_json
from graphopt.compiler.artifacts import DEFAULT_BACKEND, RunnableFile, backends_for, opener_for
from graphopt.compiler.environment import Environment
from graphopt.compiler.feeding import feeds_of_model
from graphopt.compiler.request import MOST_SAMPLES
from graphopt.numerics import Exact, Numerics, Reassociates
from graphopt.report.comparison_view import comparison_view
from graphopt.report.latency_view import LatencyRow, latency_rows
from graphopt.runtime import RunOptions
from graphopt.runtime.base import Feeds
from graphopt.runtime.latency import measure_latency
from graphopt.verify.attribution import LayerOptions
from graphopt.verify.check import check_equivalence
from graphopt.verify.hints import model_hints
from graphopt.verify.opening import CheckOptions

__all__ = ["compare"]

_SAME, _DIFFERENT = 0, 1
_SAMPLES: Final = 4
_THREADS: Final = 1
_SECONDS: Final = 3.0
_MEMORY: Final = 256


def compare(
    one: Annotated[Path, typer.Argument(metavar="A", help="The model to compare with.", show_default=False)],
    two: Annotated[
        Path | None,
        typer.Argument(metavar="B", help="The other one; with --backend, A again by default.", show_default=False),
    ] = None,
    inputs: InputFile = None,
    seed: Seed = 0,
    sizes: Sizes = None,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples",
            metavar="N",
            min=1,
            max=MOST_SAMPLES,
            help=f"How many sets of inputs are generated, {MOST_SAMPLES} at most. Default: {_SAMPLES}.",
            show_default=False,
        ),
    ] = None,
    rtol: Annotated[
        float,
        typer.Option(
            "--rtol",
            min=0.0,
            callback=check_rtol,
            help="Difference allowed in float32, relative to an output's largest number; 0 allows none.",
        ),
    ] = 1e-4,
    latency: Annotated[
        bool | None,
        typer.Option(
            "--latency/--no-latency", help="Measure both in turns, which is done by default.", show_default=False
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            "-t",
            min=1,
            help=f"Threads within an operator, for latency. Default: {_THREADS}.",
            show_default=False,
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds", min=0.0, help=f"Time to measure latency for. Default: {_SECONDS}.", show_default=False
        ),
    ] = None,
    backend: Annotated[
        str,
        typer.Option("--backend", metavar="NAME", help="What runs B; A runs in ONNX Runtime."),
    ] = DEFAULT_BACKEND,
    by_layer: Annotated[
        bool, typer.Option("--by-layer", help="Compare inner values too: where the error starts and how it grows.")
    ] = False,
    memory: Annotated[
        int | None,
        typer.Option(
            "--memory",
            metavar="MB",
            min=1,
            help=f"What inner values may take at a time. Default: {_MEMORY}.",
            show_default=False,
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Where a page with a plot of the layers goes.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace the page if it is there.")] = False,
    no_plugin: NoPlugin = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Compare two models: outputs on the same inputs, and latency."""
    of_outputs = {"--samples": samples, "--latency": latency, "--threads": threads, "--seconds": seconds}
    _check_usage(by_layer, of_outputs, {"--html": page, "--memory": memory})
    if by_layer and (two is None or backend != DEFAULT_BACKEND):
        raise UsageError("--by-layer compares two models in ONNX Runtime; name two models, without --backend")
    if two is None and backend == DEFAULT_BACKEND:
        raise UsageError("there is one model and one runtime; name another model, or another runtime with --backend")
    other = one if two is None else two
    bound = parse_sizes(sizes)
    environment = Environment(builtin_plugins(no_plugin or ()))
    [backend] = backends_for(other, [backend], environment)
    options = CheckOptions(seed=seed, samples=samples or _SAMPLES)
    numerics: Numerics = Reassociates(rtol) if rtol else Exact()
    if by_layer:
        brought = (
            feeds_of_model(one, environment=environment, inputs=inputs, seed=seed, sizes=bound) if bound else inputs
        )
        layers = LayerOptions(rtol=rtol, seed=seed, memory=(memory or _MEMORY) << 20)
        said = f"generated inputs with {', '.join(sizes or ())}, seed {seed}" if bound and inputs is None else ""
        output = LayerOutput(page, force=force, as_json=as_json, quiet=quiet, inputs=said)
        return compare_by_layer(one, other, environment, inputs=brought, options=layers, output=output)
    with (
        progress(f"comparing {one} and {other}", wanted=not (quiet or as_json)) as tell,
        RunnableFile(one, DEFAULT_BACKEND, environment) as first,
        RunnableFile(other, backend, environment, sizes=bound, inputs=inputs) as second,
    ):
        hints = model_hints(environment.lift(one))
        if second.is_model:
            environment.lift(other)  # a broken file is bad input, not a difference
        tell("outputs")
        feeds: Feeds | None = None
        if inputs is not None or bound:
            feeds = feeds_of_model(one, environment=environment, inputs=inputs, seed=seed, sizes=bound)
        verdict = check_equivalence(
            first.path,
            second.path,
            numerics=numerics,
            inputs=feeds,
            hints=hints if second.sizes is None else None,  # with sizes that are stated it works them out itself
            options=replace(options, sizes=second.sizes),
            opener=opener_for(second, replace(options, isolate=True)),
        )
        rows: list[LatencyRow] = []
        if latency is not False and verdict.ok:
            tell("latency")
            feeds = feeds or feeds_of_model(one, environment=environment, inputs=None, seed=seed, sizes={})
            rows = _latencies(first, second, feeds, threads or _THREADS, _SECONDS if seconds is None else seconds)
    if as_json:
        write_json({"verdict": verdict.to_json(), "latency": rows})
    elif not quiet:
        show(comparison_view(verdict, rows))
    return _SAME if verdict.ok else _DIFFERENT


def _check_usage(by_layer: bool, of_outputs: Mapping[str, object], of_layers: Mapping[str, object]) -> None:
    """See that no option is stated that has nothing to say.

    Raises:
        UsageError: naming the first that is.
    """
    for name, given in (of_outputs if by_layer else of_layers).items():
        if given is not None and by_layer:
            shown = "--no-latency" if given is False else name
            raise UsageError(f"{shown} has nothing to say about inner values; leave it out, or --by-layer")
        if given is not None:
            raise UsageError(f"{name} is about inner values; add --by-layer")


def _latencies(one: RunnableFile, two: RunnableFile, feeds: Feeds, threads: int, seconds: float) -> list[LatencyRow]:
    """Latency of both, each with all that its runtime does for speed."""
    options = RunOptions(threads, optimize=True)
    names = [file.source if one.backend == two.backend else f"{file.source} in {file.backend}" for file in (one, two)]
    if names[0] == names[1]:
        names[1] += " (again)"
    with one.open(options) as first, two.open(options) as second:
        runners = dict(zip(names, (first, second), strict=True))
        times = measure_latency(runners, dict.fromkeys(runners, feeds), seconds=seconds, max_repeats=10_000)
    return latency_rows(times, dict(zip(names, (one.backend, two.backend), strict=True)))
