"""``graphopt run``: a model on inputs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from graphopt.backends.onnx.atomic import check_output, new_files
from graphopt.builtin_plugin import builtin_plugins
from graphopt.cli.feeding import feeds_for
from graphopt.cli.options import AsJson, InputFile, ModelPath, NoPlugin, Quiet, Seed, Sizes, UsageError, parse_sizes
from graphopt.cli.terminal import progress, show, write_json
from graphopt.errors import OutputError
from graphopt.report.value_summary import summarize_outputs, tensor_table
from graphopt.runtime import OrtRunner, ReferenceRunner, Runner
from graphopt.runtime.base import Feeds
from graphopt.verify.user_inputs import save_inputs

__all__ = ["run"]

_RUNTIMES = ("onnxruntime", "reference")


def run(
    model: ModelPath,
    inputs: InputFile = None,
    seed: Seed = 0,
    sizes: Sizes = None,
    runtime: Annotated[
        str,
        typer.Option(
            "--runtime", metavar="NAME", help="onnxruntime, or reference: what the ONNX specification says, slowly."
        ),
    ] = "onnxruntime",
    optimize: Annotated[
        bool, typer.Option("--ort-optimizer", help="Let ONNX Runtime optimize the model first.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="OUT.npz", help="Where to save the outputs.", show_default=False),
    ] = None,
    save_feeds: Annotated[
        Path | None,
        typer.Option("--save-inputs", metavar="IN.npz", help="Where to save the inputs.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace files that are there.")] = False,
    no_plugin: NoPlugin = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run a model on given or generated inputs."""
    places = [None if path is None else check_output(path, force=force) for path in (output, save_feeds)]
    bound = parse_sizes(sizes)
    with progress(f"running {model}", wanted=not (quiet or as_json)):
        with _runner(model, runtime, optimized=optimize, blocked=no_plugin or ()) as runner:
            feeds = feeds_for(model, runner, inputs=inputs, seed=seed, sizes=bound)
            outputs = runner.run(feeds)
        for place, values in zip(places, (outputs, feeds), strict=True):
            if place is not None:
                _save(place, values)
    found = summarize_outputs(outputs)
    if as_json:
        write_json({"inputs": summarize_outputs(dict(feeds)), "outputs": found})
    elif not quiet:
        show(tensor_table(found))


def _runner(model: Path, runtime: str, *, optimized: bool, blocked: Sequence[str]) -> Runner:
    if runtime == "onnxruntime":
        return OrtRunner(model, optimize=optimized)
    if runtime == "reference":
        operators = builtin_plugins(blocked).load().operators
        return ReferenceRunner(model, kernels={op: item.kernel for op, item in operators.items() if item.kernel})
    raise UsageError(f"unknown runtime {runtime!r}; there are: {', '.join(_RUNTIMES)}")


def _save(path: Path, values: Feeds) -> None:
    """Write arrays by name; the file appears whole or not at all."""
    with tempfile.TemporaryDirectory(prefix="graphopt-") as folder:
        draft = Path(folder, "values.npz")
        try:
            save_inputs(draft, values)
        except OSError as err:
            raise OutputError(
                f"{str(path)!r} cannot be written: {err.strerror or err} in the temporary folder {folder!r}; make room there"
            ) from err
        with new_files([path]) as [file], draft.open("rb") as written:
            shutil.copyfileobj(written, file)
