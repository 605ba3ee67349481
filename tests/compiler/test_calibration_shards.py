"""Shards of calibration, merged, say what one run says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from graphopt.compiler import calibrate, calibrate_shards
from graphopt.data import digits_model, digits_test
from graphopt.errors import CalibrationError, ExecutionError, ModelError
from graphopt.runtime.base import Feeds


def batches(count: int = 7) -> Iterator[Feeds]:
    images = digits_test()[0]
    for number in range(count):
        yield {"image": images[number * 10 : number * 10 + 10] * np.float32(number + 1)}


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_shards_find_what_one_run_finds(executor: str) -> None:
    """Three shards of seven batches, at the same time."""
    told: list[str] = []
    found = calibrate_shards(digits_model(), batches(), executor=executor, jobs=2, shard=3, progress=told.append)
    whole = calibrate(digits_model(), batches())
    assert (whole.ranges, whole.batches, whole.model) == (found.ranges, found.batches, found.model)
    assert ["3 batches", "6 batches", "7 batches"] == told


def test_a_model_is_prepared_once() -> None:
    """Here, not in each shard; the table is one of the model as it was."""
    images = digits_test()[0][:60]
    found = calibrate_shards(digits_model(), images, executor="threads", shard=2, batch=10, prepare="O2")
    whole = calibrate(digits_model(), images, batch=10, prepare="O2")
    assert (whole.batches, whole.model, "O2") == (found.batches, found.model, found.prepare)
    assert whole.ranges.keys() == found.ranges.keys()


def test_shards_stop_when_they_are_told_to() -> None:
    found = calibrate_shards(digits_model(), batches(9), executor="threads", jobs=1, shard=2, stop=lambda: True)
    assert 2 == found.batches


def test_batches_are_read_as_they_are_needed() -> None:
    """Not all at once: data may be larger than memory."""
    read: list[int] = []
    merged: list[int] = []

    def streamed() -> Iterator[Feeds]:
        for number, batch in enumerate(batches(12)):
            read.append(number)
            assert number - sum(merged) <= 6
            yield batch

    calibrate_shards(
        digits_model(), streamed(), executor="threads", jobs=1, shard=2, progress=lambda text: merged.append(2)
    )
    assert 12 == len(read)


def test_errors_are_those_of_a_run_here(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="no batch to calibrate with"):
        calibrate_shards(digits_model(), [], executor="threads")
    with pytest.raises(CalibrationError, match="expected 1 or more"):
        calibrate_shards(digits_model(), batches(), shard=0)
    with pytest.raises(ModelError, match="no such file"):
        calibrate_shards(tmp_path / "none.onnx", batches())
    with pytest.raises(ExecutionError, match="is not understood"):
        calibrate_shards(digits_model(), batches(), executor="moon")
    bad = np.full((1, 1, 8, 8), np.nan, np.float32)
    with pytest.raises(CalibrationError, match="NaN"):
        calibrate_shards(digits_model(), [{"image": bad}], executor="threads")
