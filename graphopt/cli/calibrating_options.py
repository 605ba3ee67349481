"""The data that passes of a pipeline are given, as options and a pipeline file state it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from graphopt.passes import CalibrationConfig, CalibrationSource, CalibrationTable, PipelineFile
from graphopt.plugin_manager import PluginManager
from graphopt.runtime.base import Feeds

__all__ = ["calibration_of"]


def calibration_of(
    model: Path,
    target: str,
    plugins: PluginManager,
    file: PipelineFile | None,
    data: str | None,
    table: Path | None,
) -> CalibrationSource | None:
    """Data for passes, ``None`` when nobody states any.

    Args:
        model: whose inputs the data is for.
        target: its scheme tells bits to calibrators.
        plugins: where calibrators come from.
        file: pipeline file.
        data: value of ``--calibrate``, which goes before what the file says.
        table: value of ``--table``; the same.

    Raises:
        CalibrationError: if the data or the table can't be read, or does not fit the model.
        PipelineError: if there is no such calibrator.
    """
    stated = CalibrationConfig() if file is None else file.calibration
    if file is not None and data is None and table is None:
        data, table = file.calibration_data, file.calibration_table
    if data is None and table is None:
        return None
    from graphopt.compiler.calibration.data import input_specs  # lazily, as the next ones: import ONNX Runtime
    from graphopt.compiler.calibration.source import Batches
    from graphopt.compiler.environment import Environment
    from graphopt.compiler.quantizing.examples import open_examples

    environment = Environment(plugins)
    batches: Iterable[Feeds] = ()
    if data is not None:
        inputs = input_specs(environment.lift(model))
        batches = open_examples(data, inputs, batch=stated.batch, limit=stated.limit)
    return Batches(
        environment,
        None if data is None else lambda: batches,
        table=None if table is None else CalibrationTable.load(table),
        calibrator=stated.calibrator,
        options=stated.options,
        scheme=environment.backend(target).target.quantization,
    )
