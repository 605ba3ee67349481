"""Calibration: the ranges of a model's tensors, from data that streams through it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping

from graphopt.compiler.arguments import expect_type
from graphopt.compiler.calibration.activations import MEMORY, Activations
from graphopt.compiler.calibration.calibrator_maker import CalibratorMaker
from graphopt.compiler.calibration.data import input_specs, is_cut, open_data
from graphopt.compiler.calibration.layout import DEFAULT_BATCH
from graphopt.compiler.calibration.numbers import tell_masked
from graphopt.compiler.calibration.sizes import fitting_batch
from graphopt.compiler.environment import Environment
from graphopt.errors import CalibrationError
from graphopt.ir import Model, clone_model
from graphopt.passes import CalibrationTable, Calibrator
from graphopt.plugin_manager import PluginManager
from graphopt.runtime.base import Feeds
from graphopt.target import QuantizationScheme

__all__ = ["calibrate", "merge_calibrations", "prepared"]


def calibrate(
    source: object,
    feeds: Iterable[Feeds] | object,
    *,
    calibrator: str = "min-max",
    options: Mapping[str, object] | None = None,
    resume: CalibrationTable | None = None,
    progress: Callable[[str], None] | None = None,
    plugins: PluginManager | None = None,
    batch: int | None = None,
    limit: int | None = None,
    prepare: str = "",
    target: str = "onnxruntime",
    scheme: QuantizationScheme | None = None,
    only: Collection[str] | None = None,
    memory: int = MEMORY,
    stop: Callable[[], bool] | None = None,
) -> CalibrationTable:
    """The range of each float tensor of a model, inputs included, by running it on data. No batch is kept.

    Args:
        source: path, bytes, ``ModelProto``, IR, or what a plugin's frontend accepts.
        feeds: batches, each an array for each input, by name; read once, one after another. Dynamic sizes may differ between them. Or the
            path of a file or folder, ``"module:function"``, a function, arrays by name with examples along the first axis, or one array
            for a model with one input.
        calibrator: name of what finds a range, as ``graphopt list calibrators`` shows it.
        options: of the calibrator.
        resume: a table of this model by this calibrator to go on from.
        progress: told what is going on, in a few words.
        plugins: where calibrators and frontends come from; built-in and installed ones by default.
        batch: examples in a batch, where whole arrays are cut; 8, or fewer whose tensors fit into ``memory``, by default.
        limit: how many examples are used.
        prepare: text of a pipeline that the model goes through first; that of ``resume`` where there is one.
        target: what ``prepare`` makes the model for.
        scheme: how numbers will be stored: tells bits and symmetry to a calibrator that has such options.
        only: names of the tensors that are wanted, all by default.
        memory: bytes that the tensors of a batch may take together; where they are more, they are reduced by the runtime or given out in
            several runs.
        stop: asked after each batch whether that was the last one.

    Returns:
        The table; tensors that were empty in each batch, and inner ones that had minus infinity (masks of attention), are not in it.

    Raises:
        CalibrationError: if there is no batch, a batch does not fit the model, a tensor has NaN or plus infinity, an option is wrong, or
            ``resume`` is of another model or calibrator.
        PipelineError: if there is no such calibrator, pass or target.
        ExecutionError: if the model can't be run.
        PluginError: if the calibrator fails.

    Example:
        >>> from graphopt.data import digits_model, digits_test
        >>> images, _ = digits_test()
        >>> table = calibrate(digits_model(), ({"image": images[at : at + 90]} for at in range(0, 360, 90)))
        >>> table.batches, table["image"]
        (4, Range(low=0.0, high=16.0))
    """
    expect_type("calibrator", calibrator, str, "the name of a calibrator, such as 'min-max'")
    environment = Environment(plugins)
    if resume is not None:
        options, prepare = options or resume.options, prepare or resume.prepare
    maker = CalibratorMaker(environment.plugins, calibrator, options, scheme)
    given = environment.lift(source)
    found: dict[str, Calibrator] = {}
    before = 0
    if resume is not None:
        resume.check_model(given)
        found, before = maker.restored(resume), resume.batches
        if prepare != resume.prepare:
            raise CalibrationError(
                f"the calibration table is of a model prepared by {resume.prepare!r}, expected {prepare!r}; use the same"
            )
    model = prepared(environment, given, prepare, target)
    usual = fitting_batch(environment, model, memory) if batch is None and is_cut(feeds) else DEFAULT_BATCH
    data = open_data(feeds, input_specs(model), batch=batch, limit=limit, usual=usual)
    reducible = [value.name for value in model.graph.values()] if maker.extremes_suffice else ()
    number = -1
    with Activations(environment, model, only, extremes=reducible, memory=memory) as activations:
        for number, fed in enumerate(data):
            if progress is not None:
                progress(f"batch {number + 1}")
            for name, array in activations.run(fed, number):
                if name not in found:
                    found[name] = maker.new()
                maker.observe(found[name], name, array)
            if stop is not None and stop():
                break
    if number < 0:
        raise CalibrationError("there is no batch to calibrate with; bring at least one")
    tell_masked(activations.masked)
    masked = activations.masked if resume is None else activations.masked.union(resume.masked)
    return maker.table(found, CalibrationTable.fingerprint(given), before + number + 1, prepare=prepare, masked=masked)


def prepared(environment: Environment, model: Model, prepare: str, target: str) -> Model:
    """The model that is calibrated: the given one, or what a pipeline makes of it.

    Raises:
        PipelineError: if the pipeline is not understood, or there is no such target.
    """
    if not prepare:
        return model
    copy = clone_model(model)
    environment.run_pipeline(copy, environment.pipeline(prepare, ""), environment.context(environment.backend(target)))
    return copy


def merge_calibrations(
    first: CalibrationTable, *others: CalibrationTable, plugins: PluginManager | None = None
) -> CalibrationTable:
    """One table from several of the same model, as if one run had seen all of their batches.

    Raises:
        CalibrationError: if models, calibrators or options differ.

    Example:
        >>> from graphopt.data import digits_model, digits_test
        >>> images, _ = digits_test()
        >>> one, two = (calibrate(digits_model(), [{"image": part}]) for part in (images[:9], images[9:]))
        >>> merge_calibrations(one, two).ranges == calibrate(digits_model(), [{"image": images}]).ranges
        True
    """
    maker = CalibratorMaker(Environment(plugins).plugins, first.calibrator, first.options)
    found = maker.restored(first)
    for other in others:
        if other.prepare != first.prepare:
            raise CalibrationError(
                f"calibration tables of a model prepared by {first.prepare!r} and by {other.prepare!r} can't be merged; prepare it alike"
            )
        if other.model != first.model:
            raise CalibrationError(
                f"calibration tables of two models, {first.model:.12} and {other.model:.12}, can't be merged; calibrate one model"
            )
        for name, item in maker.restored(other).items():
            if name in found:
                maker.guard(f"merge of tensor {name!r}", functools.partial(found[name].merge, item))
            else:
                found[name] = item
    tables = (first, *others)
    masked = {name for table in tables for name in table.masked}
    batches = sum(table.batches for table in tables)
    return maker.table(found, first.model, batches, prepare=first.prepare, masked=masked)
