"""``graphopt reduce``: a small model that fails as a large one does."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import onnx.printer
import typer

from graphopt import compiler
from graphopt.backends.onnx.atomic import check_output
from graphopt.builtin_plugin import builtin_plugins
from graphopt.cli import optimize_options as asked
from graphopt.cli.options import AsJson, InputFiles, ModelPath, NoPlugin, Quiet, SeedCount, UsageError
from graphopt.cli.pipeline_choice import choose_pipeline, read_pipeline
from graphopt.cli.terminal import progress, show, write_json
from graphopt.ir import Model, print_model
from graphopt.passes import Pipeline, PipelineFile
from graphopt.report.reduction_view import reduction_view
from graphopt.runtime.isolation import LONGEST_TIMEOUT
from graphopt.serde import emit_model
from graphopt.verify.reduction.command import CommandCheck
from graphopt.verify.reduction.result import Reduction, input_paths

__all__ = ["reduce"]

_READABLE_NODES: Final = 20
_READABLE_BYTES: Final = 4096
_INTERRUPTED: Final = 130
_PIPELINE: Final = ("--level", "--passes", "--pipeline")

_WHAT = "What fails"
_OUTPUT = "Output"


def reduce(
    model: ModelPath,
    check: Annotated[
        str | None,
        typer.Option(
            "--check",
            metavar="CMD",
            help="Command that exits with 0 when a model still fails. {} is the model file, {inputs} its inputs.",
            rich_help_panel=_WHAT,
            show_default=False,
        ),
    ] = None,
    fails_with: Annotated[
        str,
        typer.Option(
            "--fails-with",
            metavar="END",
            help="End of the command that means that a model still fails: an exit code, crash or timeout.",
            rich_help_panel=_WHAT,
        ),
    ] = "0",
    level: asked.Level = None,
    passes: asked.Passes = None,
    pipeline: asked.PipelinePath = None,
    target: asked.Target = None,
    inputs: InputFiles = None,
    seeds: SeedCount = 1,
    timeout: Annotated[float, typer.Option("--timeout", metavar="S", help="Seconds that one check may take.")] = 60.0,
    no_plugin: NoPlugin = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="Where to save the small model, inputs beside it. Default: MODEL.reduced.onnx in this folder.",
            rich_help_panel=_OUTPUT,
            show_default=False,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Replace files that are there.", rich_help_panel=_OUTPUT)
    ] = False,
    reproducer: Annotated[
        Path | None,
        typer.Option(
            "--reproducer",
            metavar="DIR",
            help="Write a folder that replays the failure of the pipeline, too.",
            rich_help_panel=_OUTPUT,
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Make a model that fails as small as possible, with the inputs that show it."""
    _check_usage(check, (level, passes, pipeline), fails_with, timeout, reproducer)
    file = None if pipeline is None else read_pipeline(pipeline)
    backend = target or (file.target if file is not None else None) or asked.TARGET
    target_path = output or Path(f"{model.stem}.reduced.onnx")
    for path in (target_path, *input_paths(target_path, 1)):  # before the work, not after it
        check_output(path, force=force)
    if reproducer is not None:
        from graphopt.verify.reproducer import check_folder  # lazily: imports ONNX Runtime

        check_folder(reproducer)
    command = None if check is None else CommandCheck(check, fails_with=fails_with, timeout=timeout)
    built = None if check is not None else _pipeline(level, passes, file, no_plugin or ())
    try:
        with progress(f"reducing {model}", wanted=not (quiet or as_json)) as tell:
            found = compiler.reduce(
                model,
                pipeline=built,
                target=backend,
                check=command,
                inputs=inputs or (file.inputs_path if file is not None else None),
                seeds=seeds,
                timeout=timeout,
                progress=tell,
                no_plugin=no_plugin or (),
            )
            tell("saving")
            files = found.save(target_path, force=force)
    finally:
        if command is not None:
            command.close()
    text = passes if file is None else str(built)  # a file may move
    again = _again(
        command, {"--passes": text, "--level": level if file is None else None}, backend, no_plugin or (), files
    )
    notes: list[str] = []
    if reproducer is not None and built is not None:
        notes.append(_write_reproducer(reproducer, files[0], found, built, backend))
    _report(found, files, again, notes, as_json=as_json, quiet=quiet)
    return _INTERRUPTED if found.interrupted else 0


def _check_usage(
    check: str | None,
    pipeline: Sequence[object],
    fails_with: str,
    timeout: float,
    reproducer: Path | None,
) -> None:
    """See that a command or a pipeline says what fails, and not both.

    Raises:
        UsageError: if it is not so, or an option has nothing to say then.
    """
    stated = [name for name, given in zip(_PIPELINE, pipeline, strict=True) if given is not None]
    if check is not None and stated:
        raise UsageError(f"--check and {stated[0]} each say what fails; state one of them")
    if check is None and fails_with != "0":
        raise UsageError("--fails-with says how a command ends; state the command with --check")
    if check is not None and reproducer is not None:
        raise UsageError(
            "--reproducer replays a pipeline, and --check is none; leave it out: -o has the model and its inputs"
        )
    if not 0 < timeout <= LONGEST_TIMEOUT:
        raise UsageError(f"--timeout is {timeout:g} s, expected more than 0 and at most {LONGEST_TIMEOUT:g}")


def _pipeline(level: str | None, passes: str | None, file: PipelineFile | None, no_plugin: Sequence[str]) -> Pipeline:
    """The pipeline that fails."""
    plugins = builtin_plugins(no_plugin)
    chosen = choose_pipeline(plugins, level, passes, file)
    return compiler.Environment(plugins).pipeline(chosen, asked.LEVEL if level is None else level)


def _again(
    command: CommandCheck | None,
    stated: Mapping[str, str | None],
    target: str,
    no_plugin: Sequence[str],
    files: Sequence[Path],
) -> str:
    """The command that shows the failure of the small model, in the words in which it was asked for."""
    inputs = [path for path in files if path.suffix == ".npz"]
    if command is not None:
        return shlex.join(command.words(files[0], inputs))
    words = ["graphopt", "optimize", str(files[0])]
    for name, given in stated.items():
        words += [] if given is None else [name, given]
    for name in no_plugin:
        words += ["--no-plugin", name]
    if target != asked.TARGET:
        words += ["--target", target]
    if inputs:
        words += ["--inputs", str(inputs[0])]
    return shlex.join(words)


def _report(
    found: Reduction, files: Sequence[Path], again: str, notes: Sequence[str], *, as_json: bool, quiet: bool
) -> None:
    names = [str(path) for path in files]
    if as_json:
        write_json(found.to_json() | {"files": names, "command": again, "notes": list(notes)})
    elif not quiet:
        show(reduction_view(found, files=names, text=_text(found.model), command=again, notes=notes))


def _text(model: Model) -> str:
    """A small model in ONNX text syntax, or in graphopt's own, which leaves out the numbers of weights; else nothing."""
    if model.node_count > _READABLE_NODES:
        return ""
    if model.constant_bytes > _READABLE_BYTES:
        return print_model(model)
    text: str = onnx.printer.to_text(emit_model(model, lineage=False))
    return text


def _write_reproducer(folder: Path, model: Path, found: Reduction, pipeline: Pipeline, target: str) -> str:
    """Write a folder that replays the failure, and say where it is."""
    from graphopt.verify import write_reproducer  # lazily: imports ONNX Runtime

    if found.kind == "timeout":
        return "no reproducer: what takes too long is not replayed"
    made = write_reproducer(
        folder,
        original=model,
        optimized=None,
        verdict=None,
        pipeline=str(pipeline),
        kind=found.kind.partition(":")[0],
        reason=found.kind,
        inputs=found.feeds or None,
        target=target,
    )
    return f"reproducer: {made.folder}"
