"""``graphopt run``: a model on inputs."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from graphopt.backends.onnx.atomic import check_output, new_files
from graphopt.builtin_plugin import builtin_plugins
from graphopt.cli.options import (
    AsJson,
    BackendName,
    InputFile,
    ModelPath,
    NoPlugin,
    Quiet,
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
from graphopt.compiler.feeding import feeds_for
from graphopt.errors import OutputError
from graphopt.report.value_summary import summarize_outputs, tensor_table
from graphopt.runtime import Runner, RunOptions
from graphopt.runtime.base import Feeds
from graphopt.verify.user_inputs import save_inputs

__all__ = ["run"]

_REFERENCE = "reference"
_RUNTIMES = (DEFAULT_BACKEND, _REFERENCE)


def run(
    model: ModelPath,
    inputs: InputFile = None,
    seed: Seed = 0,
    sizes: Sizes = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            "--runtime",
            metavar="NAME",
            help="onnxruntime (default), or reference: what the ONNX specification says, slowly.",
            show_default=False,
        ),
    ] = None,
    backend: BackendName = None,
    optimize: Annotated[
        bool, typer.Option("--ort-optimizer", help="Let the runtime optimize the model first.")
    ] = False,
    session: SessionFile = None,
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
    if runtime is not None and runtime not in _RUNTIMES:
        raise UsageError(f"unknown runtime {runtime!r}; there are: {', '.join(_RUNTIMES)}")
    if runtime is not None and backend is not None:
        raise UsageError("--runtime and --backend both say what runs the model; state one of them")
    if session is not None and runtime == _REFERENCE:
        raise UsageError("--options is for ONNX Runtime, and --runtime reference does without; leave one of them out")
    options = RunOptions(optimize=optimize, low_memory=True)
    if session is not None:
        refuse_settings_elsewhere(backend or DEFAULT_BACKEND)
        options = RunOptions(optimize=True, session=read_session(session))
    environment = Environment(builtin_plugins(no_plugin or ()))
    with progress(f"running {model}", wanted=not (quiet or as_json)):
        with (
            RunnableFile(model, _backend(model, backend, environment), environment, sizes=bound, inputs=inputs) as file,
            _runner(file, environment, options, reference=runtime == _REFERENCE) as runner,
        ):
            feeds = feeds_for(file, runner, environment=environment, inputs=inputs, seed=seed, sizes=bound)
            outputs = runner.run(feeds)
        for place, values in zip(places, (outputs, feeds), strict=True):
            if place is not None:
                _save(place, values)
    found = summarize_outputs(outputs)
    if as_json:
        write_json({"inputs": summarize_outputs(dict(feeds)), "outputs": found})
    elif not quiet:
        show(tensor_table(found))


def _backend(model: Path, stated: str | None, environment: Environment) -> str:
    """What runs the model: what is stated, or what its form says."""
    if stated is not None and not model.is_dir():
        return stated
    return backends_for(model, [stated or DEFAULT_BACKEND], environment)[0]


def _runner(file: RunnableFile, environment: Environment, options: RunOptions, *, reference: bool) -> Runner:
    if not reference:
        return file.open(options, isolate=True)
    if not file.is_model:
        raise UsageError(f"--runtime reference runs ONNX models, and {file.source!r} is none; leave it out")
    from graphopt.runtime import ReferenceRunner  # lazily: imports the reference evaluator

    return ReferenceRunner(file.path, kernels=environment.plugins.load().kernels)


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
