"""Quantize and dequantize layers: symmetric, by one scale, by channel, or in blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import ml_dtypes
import numpy as np

from graphopt.ir import Array
from graphopt.testing.tensorrt.reading import Item, numpy_dtype

if TYPE_CHECKING:
    from graphopt.testing.tensorrt.evaluator import Evaluation

__all__ = ["KERNELS"]

_LIMITS: Final = {np.dtype(np.int8): (-128, 127), np.dtype(ml_dtypes.int4): (-8, 7)}


def _spread(scale: Any, x: Any, axis: int) -> Any:  # noqa: ANN401
    if scale.ndim == 0 or scale.size == 1:
        return scale.reshape(())
    if scale.ndim == 1:
        return scale.reshape([-1 if place == axis % x.ndim else 1 for place in range(x.ndim)])
    for place in range(x.ndim):
        scale = np.repeat(scale, x.shape[place] // scale.shape[place], place)
    return scale


def _quantize(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    x, scale = given[0].astype(np.float32), given[1].astype(np.float32)
    dtype = numpy_dtype(made.api, item.layer.get_output(0).dtype)
    steps = x / _spread(scale, x, int(item.layer.axis))
    if dtype in _LIMITS:
        return np.asarray(np.clip(np.rint(steps), *_LIMITS[dtype]).astype(np.int8).astype(dtype))
    most = float(ml_dtypes.finfo(dtype).max)  # type: ignore[no-untyped-call]
    return np.asarray(np.clip(steps, -most, most).astype(dtype))


def _dequantize(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    x, scale = given[0].astype(np.float32), given[1].astype(np.float32)
    dtype = numpy_dtype(made.api, item.layer.get_output(0).dtype)
    return np.asarray(x * _spread(scale, x, int(item.layer.axis))).astype(dtype)


KERNELS: Final[dict[str, Any]] = {"DEQUANTIZE": _dequantize, "QUANTIZE": _quantize}
