"""Calibration in shards: batches are given out to an executor's workers, and what they found is merged in the order of the batches."""

from __future__ import annotations

import functools
import itertools
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from graphopt.backends.onnx.files import save
from graphopt.builtin_plugin import builtin_plugins
from graphopt.compiler.arguments import expect_type
from graphopt.compiler.calibration.activations import MEMORY
from graphopt.compiler.calibration.calibrating import calibrate, merge_calibrations, prepared
from graphopt.compiler.calibration.calibrator_maker import CalibratorMaker
from graphopt.compiler.calibration.data import input_specs, open_data
from graphopt.compiler.environment import Environment
from graphopt.compiler.executors import open_executor, shares_files, usable_cores
from graphopt.compiler.fleets.manifest import bytes_to_send
from graphopt.errors import CalibrationError, ModelError
from graphopt.passes import CalibrationTable
from graphopt.runtime.base import Feeds
from graphopt.target import QuantizationScheme

__all__ = ["calibrate_shards"]

#: Shards that are given out and not yet merged, for each worker that may be there.
_AHEAD: Final = 2
_WORKERS: Final = 16


def calibrate_shards(
    model: str | os.PathLike[str],
    feeds: Iterable[Feeds] | object,
    *,
    executor: Executor | str = "processes",
    jobs: int | None = None,
    shard: int = 8,
    calibrator: str = "min-max",
    options: Mapping[str, object] | None = None,
    blocked: Sequence[str] = (),
    progress: Callable[[str], None] | None = None,
    batch: int | None = None,
    limit: int | None = None,
    prepare: str = "",
    target: str = "onnxruntime",
    scheme: QuantizationScheme | None = None,
    memory: int = MEMORY,
    stop: Callable[[], bool] | None = None,
) -> CalibrationTable:
    """The same as :func:`graphopt.calibrate`, by several workers at the same time.

    Args:
        model: path of an ONNX file.
        feeds: batches, each an array for each input, by name, or what else :func:`graphopt.calibrate` takes; read once, as far ahead as
            the workers need.
        executor: any of ``concurrent.futures``, or the name of one (``processes``, ``threads``, ``dask://HOST:PORT``). One that is not of
            this machine is sent the model with each shard.
        jobs: how many shards at the same time, where that is decided here; as many as there are cores by default.
        shard: batches that go to a worker together.
        calibrator: name of what finds a range.
        options: of the calibrator.
        blocked: plugins that are not to be used.
        progress: told what is going on, in a few words.
        batch: examples in a batch, where whole arrays are cut.
        limit: how many examples are used.
        prepare: text of a pipeline that the model goes through first, here and once.
        target: what ``prepare`` makes the model for.
        scheme: how numbers will be stored.
        memory: bytes that the tensors of a batch may take together, in each worker.
        stop: asked after each shard whether that was the last one; shards that were begun are waited for and not counted.

    Raises:
        CalibrationError: if there is no batch, or for what :func:`graphopt.calibrate` raises it.
        ModelError: if there is no such file.
        ExecutionError: if there is no such executor.

    Example:
        >>> from graphopt.data import digits_model, digits_test
        >>> images, _ = digits_test()
        >>> batches = ({"image": images[at : at + 90]} for at in range(0, 360, 90))
        >>> table = calibrate_shards(digits_model(), batches, executor="threads", jobs=2, shard=2)
        >>> table.batches, table["image"]
        (4, Range(low=0.0, high=16.0))
    """
    path = os.path.abspath(model)
    if not os.path.isfile(path):
        raise ModelError(f"{os.fspath(model)!r} cannot be read: no such file; check the path")
    expect_type("shard", shard, int, "a whole number")
    if shard < 1:
        raise CalibrationError(f"a shard is {shard} batches, expected 1 or more")
    tell = progress or (lambda text: None)
    environment = Environment(builtin_plugins(tuple(blocked)))
    settings = dict(CalibratorMaker(environment.plugins, calibrator, options, scheme).options)
    table: CalibrationTable | None = None
    with ExitStack() as stack:
        given = environment.lift(path)
        data = open_data(feeds, input_specs(given), batch=batch, limit=limit)
        if prepare:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="graphopt-calibrate-"))
            path = os.path.join(folder, "prepared.onnx")
            save(prepared(environment, given, prepare, target), path)
        if isinstance(executor, str):
            executor = stack.enter_context(open_executor(executor, jobs or usable_cores()))
        source = path if shares_files(executor) else bytes_to_send(Path(path), environment)
        most = _AHEAD * ((jobs or usable_cores()) if isinstance(source, str) else _WORKERS)
        begin = functools.partial(_begin, executor, source, calibrator, settings, tuple(blocked), memory)
        for found in _in_order(begin, _shards(data, shard), most):
            table = found if table is None else merge_calibrations(table, found, plugins=environment.plugins)
            tell(f"{table.batches} batches")
            if stop is not None and stop():
                break
    if table is None:
        raise CalibrationError("there is no batch to calibrate with; bring at least one")
    return replace(table, model=CalibrationTable.fingerprint(given), prepare=prepare)


def _begin(
    executor: Executor,
    source: str | bytes,
    calibrator: str,
    options: dict[str, object],
    blocked: tuple[str, ...],
    memory: int,
    batches: Sequence[Feeds],
) -> Future[CalibrationTable]:
    return executor.submit(_calibrate, source, batches, calibrator, options, blocked, memory)


def _in_order(
    begin: Callable[[list[Feeds]], Future[CalibrationTable]], shards: Iterator[list[Feeds]], most: int
) -> Iterator[CalibrationTable]:
    """What shards give, in their order; no more than ``most`` are given out and not yet taken."""
    waiting: deque[Future[CalibrationTable]] = deque()
    try:
        while True:
            for batches in itertools.islice(shards, most - len(waiting)):
                waiting.append(begin(batches))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _shards(feeds: Iterable[Feeds], size: int) -> Iterator[list[Feeds]]:
    batches = iter(feeds)
    while part := list(itertools.islice(batches, size)):
        yield part


def _calibrate(
    source: str | bytes,
    batches: Sequence[Feeds],
    calibrator: str,
    options: dict[str, object],
    blocked: tuple[str, ...],
    memory: int,
) -> CalibrationTable:
    """A shard, wherever it is done."""
    return calibrate(
        source, batches, calibrator=calibrator, options=options, plugins=builtin_plugins(blocked), memory=memory
    )
