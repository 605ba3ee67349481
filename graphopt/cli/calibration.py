"""``graphopt calibrate``: the ranges of a model's tensors, from data."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from graphopt.backends.onnx.atomic import check_output
from graphopt.builtin_plugin import builtin_plugins
from graphopt.cli.options import AsJson, ModelPath, NoPlugin, Quiet, Seed, Sizes, UsageError, parse_sizes
from graphopt.cli.terminal import progress, show, write_json
from graphopt.compiler.calibration.activations import MEMORY
from graphopt.compiler.calibration.calibrating import calibrate as find_ranges
from graphopt.compiler.calibration.data import CalibrationData, input_specs, is_cut, open_data
from graphopt.compiler.calibration.layout import DEFAULT_BATCH
from graphopt.compiler.calibration.random_data import random_data
from graphopt.compiler.calibration.shards import calibrate_shards
from graphopt.compiler.calibration.sizes import fitting_batch
from graphopt.compiler.environment import Environment
from graphopt.passes import CalibrationTable
from graphopt.passes.literals import Word
from graphopt.report.calibration_view import calibration_dict, calibration_view

__all__ = ["calibrate", "show_table"]

_INTERRUPTED = 130


def calibrate(
    model: ModelPath,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="D",
            help="Data: .npz, .npy, a folder of them, or module:callable.",
            show_default=False,
        ),
    ] = None,
    random: Annotated[
        int | None,
        typer.Option("--random", metavar="N", min=1, help="N batches of random numbers instead.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="TABLE.json", help="Where to save the table.", show_default=False),
    ] = None,
    calibrator: Annotated[
        str | None,
        typer.Option(
            "--calibrator",
            metavar="NAME",
            help="What finds ranges: see graphopt list calibrators. Default: min-max, or that of --resume.",
            show_default=False,
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="KEY=VALUE", help="Option of it; may be repeated.", show_default=False),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch",
            metavar="N",
            min=1,
            help="Examples that are run together, where the model takes any number. Default: 8, or what fits into --memory.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help="Use no more examples than these.", show_default=False),
    ] = None,
    skip: Annotated[int, typer.Option("--skip", metavar="N", min=0, help="Examples at the start to leave out.")] = 0,
    prepare: Annotated[
        str,
        typer.Option("--prepare", metavar="PIPELINE", help="What the model goes through first.", show_default=False),
    ] = "",
    target: Annotated[
        str, typer.Option("--target", metavar="NAME", help="What the model is for: how it stores integers.")
    ] = "onnxruntime",
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="TABLE.json", help="A table of this model to go on from.", show_default=False),
    ] = None,
    memory: Annotated[
        int, typer.Option("--memory", metavar="MIB", min=1, help="What the tensors of a batch may take together.")
    ] = MEMORY >> 20,
    executor: Annotated[
        str | None,
        typer.Option(
            "--executor",
            metavar="NAME",
            help="Share the batches out: processes, threads, or dask://HOST:PORT.",
            show_default=False,
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", "-j", metavar="N", min=1, help="Workers. Default: as many as cores.", show_default=False
        ),
    ] = None,
    seed: Seed = 0,
    sizes: Sizes = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace a file that is there.")] = False,
    no_plugin: NoPlugin = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find the ranges of a model's tensors from data, for quantization."""
    if (data is None) == (random is None):
        raise UsageError("give either --data, or --random N for random numbers")
    if resume is not None and executor is not None:
        raise UsageError("--resume goes on in this process; leave out --executor")
    place = None if output is None else check_output(output, force=force or output == resume)
    before = None if resume is None else CalibrationTable.load(resume)
    options = parse_options(option)
    environment = Environment(builtin_plugins(no_plugin or ()))
    scheme = environment.backend(target).target.quantization if before is None else None
    name = calibrator or ("min-max" if before is None else before.calibrator)
    given = environment.lift(model)
    usual = fitting_batch(environment, given, memory << 20) if batch is None and is_cut(data) else DEFAULT_BATCH
    brought = (
        random_data(model, random, environment=environment, seed=seed, sizes=parse_sizes(sizes))
        if random is not None
        else open_data(data, input_specs(given), batch=batch, limit=limit, usual=usual)
    )
    counted = _Counted(brought, skip)
    with progress(f"calibrating {model}", wanted=not (quiet or as_json)) as tell, _interruptible() as interrupted:
        if executor is None:
            table = find_ranges(
                given,
                counted,
                calibrator=name,
                options=options,
                resume=before,
                progress=tell,
                plugins=environment.plugins,
                prepare=prepare,
                target=target,
                scheme=scheme,
                memory=memory << 20,
                stop=interrupted.is_set,
            )
        else:
            table = calibrate_shards(
                model,
                counted,
                executor=executor,
                jobs=jobs,
                calibrator=name,
                options=options,
                blocked=no_plugin or (),
                progress=tell,
                prepare=prepare,
                target=target,
                scheme=scheme,
                memory=memory << 20,
                stop=interrupted.is_set,
            )
    if place is not None:
        table.save(place, force=True)
    if as_json:
        write_json(
            calibration_dict(table)
            | {"file": None if place is None else str(output), "interrupted": interrupted.is_set()}
        )
    elif not quiet:
        show(calibration_view(table))
    if interrupted.is_set():
        _tell_rest(output, skip, counted, exact=executor is None)
        raise typer.Exit(_INTERRUPTED)


def show_table(path: Path, *, as_json: bool) -> None:
    """Write a calibration table to stdout: what ``graphopt inspect`` does with one.

    Raises:
        CalibrationError: if it can't be read.
    """
    table = CalibrationTable.load(path)
    if as_json:
        write_json(calibration_dict(table))
    else:
        show(calibration_view(table))


def parse_options(texts: Sequence[str] | None) -> dict[str, object]:
    """Options of a calibrator, from ``KEY=VALUE`` texts; values are numbers, true, false, or text.

    Raises:
        UsageError: if one is not of that form.

    Example:
        >>> parse_options(["bits=8", "symmetric=true", "percentile=99.9"])
        {'bits': 8, 'symmetric': True, 'percentile': 99.9}
    """
    found: dict[str, object] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise UsageError(f"--option {text!r} is not understood; expected KEY=VALUE, such as percentile=99.9")
        found[name] = Word(value).typed()
    return found


class _Counted:
    """Batches without the first examples; knows how many examples there were."""

    def __init__(self, data: CalibrationData, skip: int) -> None:
        self._data = data
        self._skip = skip
        self.examples = 0

    def __iter__(self) -> Iterator[object]:
        for batch, count in self._data.counted(skip=self._skip):
            self.examples += count
            yield batch


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Ctrl-C sets an event, so that what was collected is kept; a second one ends at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def note(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    former = signal.signal(signal.SIGINT, note)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, former)


def _tell_rest(output: Path | None, skip: int, counted: _Counted, *, exact: bool) -> None:
    """Say what was kept, and how to go on."""
    if output is None:
        text = "nothing was saved, because there is no --output"
    elif exact:
        text = (
            f"what was collected is in {output}; go on with --resume {output} --skip {skip + counted.examples} --force"
        )
    else:
        text = f"what was collected is in {output}"
    sys.stderr.write(f"graphopt: {text}\n")
