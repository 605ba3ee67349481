"""Generated batches, for those who have no data: sizes and ranges as the model's own graph suggests them, numbers that mean nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from graphopt.compiler.artifacts import DEFAULT_BACKEND, RunnableFile
from graphopt.compiler.calibration.data import CalibrationData
from graphopt.compiler.environment import Environment
from graphopt.compiler.feeding import feeds_for
from graphopt.runtime import RunOptions
from graphopt.runtime.base import Feeds

__all__ = ["random_data"]

logger = logging.getLogger(__name__)


def random_data(
    model: Path, count: int, *, environment: Environment, seed: int = 0, sizes: Mapping[str, int] | None = None
) -> CalibrationData:
    """Batches of random numbers on which a model runs. Warns that ranges found with them are no good for real data.

    Args:
        model: an ONNX file.
        count: how many batches.
        environment: reads the model.
        seed: same seed, same numbers.
        sizes: of dynamic dimensions, by name.

    Raises:
        ExecutionError: while it is read, if the model accepts nothing that was generated.
    """
    logger.warning(
        "ranges are found with random numbers: real data has other ones, so a model quantized by them may be far off; use --data"
    )

    def read() -> Iterator[Feeds]:
        with (
            RunnableFile(model, DEFAULT_BACKEND, environment) as file,
            file.open(RunOptions(low_memory=True)) as runner,
        ):
            for number in range(count):
                yield feeds_for(
                    file, runner, environment=environment, inputs=None, seed=seed + number, sizes=sizes or {}
                )

    return CalibrationData(read, f"{count} random batches")
