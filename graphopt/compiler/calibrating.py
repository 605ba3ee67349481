"""Calibration: the ranges of a model's tensors, from data that streams through it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping

from graphopt.compiler.activations import Activations
from graphopt.compiler.arguments import expect_type
from graphopt.compiler.calibrator_maker import CalibratorMaker
from graphopt.compiler.environment import Environment
from graphopt.errors import CalibrationError
from graphopt.passes import CalibrationTable, Calibrator
from graphopt.plugin_manager import PluginManager
from graphopt.runtime.base import Feeds

__all__ = ["calibrate", "merge_calibrations"]


def calibrate(
    source: object,
    feeds: Iterable[Feeds],
    *,
    calibrator: str = "min-max",
    options: Mapping[str, object] | None = None,
    resume: CalibrationTable | None = None,
    progress: Callable[[str], None] | None = None,
    plugins: PluginManager | None = None,
) -> CalibrationTable:
    """The range of each float tensor of a model, inputs included, by running it on data. No batch is kept.

    Args:
        source: path, bytes, ``ModelProto``, IR, or what a plugin's frontend accepts.
        feeds: batches, each an array for each input, by name; read once, one after another. Dynamic sizes may differ between them.
        calibrator: name of what finds a range, as ``graphopt list calibrators`` shows it.
        options: of the calibrator.
        resume: a table of this model by this calibrator to go on from.
        progress: told what is going on, in a few words.
        plugins: where calibrators and frontends come from; built-in and installed ones by default.

    Returns:
        The table; tensors that were empty in each batch are not in it.

    Raises:
        CalibrationError: if there is no batch, a batch does not fit the model, a tensor has NaN or infinities, an option is wrong, or
            ``resume`` is of another model or calibrator.
        PipelineError: if there is no such calibrator.
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
    expect_type("feeds", feeds, Iterable, "batches: an iterable of mappings from input name to array")
    environment = Environment(plugins)
    maker = CalibratorMaker(environment.plugins, calibrator, options if resume is None or options else resume.options)
    model = environment.lift(source)
    found: dict[str, Calibrator] = {}
    before = 0
    if resume is not None:
        resume.check_model(model)
        found, before = maker.restored(resume), resume.batches
    number = -1
    with Activations(environment, model) as activations:
        for number, batch in enumerate(feeds):
            if progress is not None:
                progress(f"batch {number + 1}")
            for name, array in activations.run(batch, number):
                if name not in found:
                    found[name] = maker.new()
                maker.observe(found[name], name, array)
    if number < 0:
        raise CalibrationError("there is no batch to calibrate with; bring at least one")
    return maker.table(found, CalibrationTable.fingerprint(model), before + number + 1)


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
        if other.model != first.model:
            raise CalibrationError(
                f"calibration tables of two models, {first.model:.12} and {other.model:.12}, can't be merged; calibrate one model"
            )
        for name, item in maker.restored(other).items():
            if name in found:
                maker.guard(f"merge of tensor {name!r}", functools.partial(found[name].merge, item))
            else:
                found[name] = item
    return maker.table(found, first.model, sum(table.batches for table in (first, *others)))
