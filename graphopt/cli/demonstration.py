"""``graphopt demo``: a trained model, optimized, measured and judged on data it never saw."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from graphopt import compiler
from graphopt.backends.onnx.atomic import check_output
from graphopt.cli.options import AsJson
from graphopt.cli.terminal import progress, show, write_json
from graphopt.data import digits_model, digits_test
from graphopt.report.demo_view import DemoResult, Measured, demo_view
from graphopt.report.optimize_view import optimize_view
from graphopt.runtime.latency import latency_ratio, measure_latency
from graphopt.runtime.onnxruntime_runner import OrtRunner

__all__ = ["demo"]

_BATCH = 64
_ROUNDS = 200


def demo(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="Where to save the result; a temporary folder without.",
            show_default=False,
        ),
    ] = None,
    level: Annotated[str, typer.Option("--level", "-O", metavar="LEVEL", help="O0 to O3.")] = "O3",
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace the file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Optimize the digits classifier that ships with graphopt, and show what it brought."""
    if output is None:
        output = Path(tempfile.mkdtemp(prefix="graphopt-demo-")) / "digits.onnx"
    check_output(output, force=force)
    with progress("optimizing the digits classifier", wanted=not as_json) as tell:
        result = compiler.optimize(digits_model(), level=level, progress=tell)
        result.save(output, force=force)
        tell("measuring")
        found = _measured(digits_model(), output, result.report)
    if as_json:
        write_json(found)
        return
    show(optimize_view(result.report))
    show("")
    show(demo_view(found))


def _measured(before: Path, after: Path, report: compiler.OptimizeReport) -> DemoResult:
    """Latency in turns, and accuracy on the test images, of two model files."""
    images, labels = digits_test()
    with (
        OrtRunner(before, optimize=True, threads=1, low_memory=False) as one,
        OrtRunner(after, optimize=True, threads=1, low_memory=False) as two,
    ):
        runners = {"before": one, "after": two}
        feeds = {"image": images[:_BATCH]}
        times = measure_latency(runners, dict.fromkeys(runners, feeds), warmup=20, repeats=_ROUNDS)
        accuracy = {
            name: float(np.mean(np.argmax(np.asarray(runner.run({"image": images})["logits"]), axis=1) == labels))
            for name, runner in runners.items()
        }
    return DemoResult(
        Measured(report.nodes_before, before.stat().st_size, times["before"].median, accuracy["before"]),
        Measured(report.nodes_after, after.stat().st_size, times["after"].median, accuracy["after"]),
        latency_ratio(times["before"], times["after"]),
        batch=_BATCH,
        images=len(labels),
        saved=str(after),
        report=report.to_dict(),
    )
