"""The cases of `benchmarks.pruning`: digits with labels, and crops of photographs; what calibrates is never what is judged on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.crops import MissingPhotographsError, crops, normalized
from benchmarks.quantization_cases import normalized_digits, write_case

__all__ = ["write_cases"]

#: Digits of the training set that calibrate.
_DIGITS = 512


def write_cases(models: Path, mnist: Path | None, into: Path, count: Sequence[int]) -> Iterator[Path]:
    """Write the folders of the cases that can be made, and give each.

    Args:
        models: folder of the models.
        mnist: ``x_train``, ``x_test`` and ``y_test``.
        into: where the folders go.
        count: crops to calibrate with, and to judge on.
    """
    model = models / "mnist_resnet_bn.onnx"
    if mnist is not None and model.exists():
        with np.load(mnist) as found:
            train, test = (normalized_digits(found[name]) for name in ("x_train", "x_test"))
            labels = found["y_test"].astype(np.int64)
        case = into / "mnist_resnet_bn"
        write_case(case, model, {"image": train[:_DIGITS]}, {"image": test}, labels=labels, batch=32, timed_batch=8)
        yield case
    model = models / "efficientnet_lite0_trained_bn.onnx"
    if model.exists():
        try:
            calibrate, judged = (normalized(crops(number, seed=seed)) for seed, number in enumerate(count))
        except MissingPhotographsError as err:
            print(f"efficientnet_lite0 is left out: {err}")
            return
        case = into / "efficientnet_lite0"
        write_case(case, model, {"image": calibrate}, {"image": judged}, batch=1)
        yield case
