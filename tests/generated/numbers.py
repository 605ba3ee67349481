"""Tensors for generated models: the numbers that rewrites get wrong most often, or calm ones whose sums are exact."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
from onnx import TensorProto

from graphopt.ir import Array

__all__ = ["DTYPES", "dtype_number", "fill", "numpy_dtype", "tensor"]

#: ONNX element types that models are made of, with how often each is drawn.
DTYPES: dict[int, int] = {
    TensorProto.FLOAT: 12,
    TensorProto.INT64: 4,
    TensorProto.DOUBLE: 2,
    TensorProto.FLOAT16: 2,
    TensorProto.INT32: 3,
    TensorProto.BOOL: 2,
    TensorProto.UINT8: 2,
    TensorProto.INT8: 2,
    TensorProto.INT16: 1,
    TensorProto.UINT16: 1,
    TensorProto.UINT32: 1,
    TensorProto.UINT64: 1,
    TensorProto.BFLOAT16: 1,
    TensorProto.STRING: 1,
}
_NUMPY: dict[int, np.dtype[Any]] = {
    TensorProto.FLOAT: np.dtype(np.float32),
    TensorProto.DOUBLE: np.dtype(np.float64),
    TensorProto.FLOAT16: np.dtype(np.float16),
    TensorProto.BFLOAT16: np.dtype(ml_dtypes.bfloat16),
    TensorProto.INT64: np.dtype(np.int64),
    TensorProto.INT32: np.dtype(np.int32),
    TensorProto.INT16: np.dtype(np.int16),
    TensorProto.INT8: np.dtype(np.int8),
    TensorProto.UINT64: np.dtype(np.uint64),
    TensorProto.UINT32: np.dtype(np.uint32),
    TensorProto.UINT16: np.dtype(np.uint16),
    TensorProto.UINT8: np.dtype(np.uint8),
    TensorProto.BOOL: np.dtype(np.bool_),
    TensorProto.STRING: np.dtype(object),
}
_NUMBERS: dict[np.dtype[Any], int] = {dtype: number for number, dtype in _NUMPY.items()}
_SPECIAL = (
    math.nan,
    math.inf,
    -math.inf,
    -0.0,
    0.0,
    1.0,
    -1.0,
    0.5,
    -2.5,
    1e-45,
    1e-40,
    3e38,
    -3e38,
    65504.0,
    2.0**24 + 1,
    7.0,
)
_WORDS = ("", "a", "b", "straße", "0", "1")


def numpy_dtype(number: int) -> np.dtype[Any]:
    """The numpy dtype of an ONNX element type."""
    return _NUMPY[number]


def dtype_number(array: Array) -> int:
    """The ONNX element type of an array; strings are objects."""
    return TensorProto.STRING if array.dtype.kind in "OUS" else _NUMBERS[array.dtype]


def tensor(rng: random.Random, number: int, shape: Sequence[int], *, wild: bool) -> Array:
    """Random numbers: multiples of 1/8 between -4 and 4 (or small integers), and when ``wild`` everything there is."""
    dtype = _NUMPY[number]
    count = math.prod(shape)
    if dtype.kind == "O":
        return np.array([rng.choice(_WORDS) for _ in range(count)], object).reshape(shape)
    if dtype == np.bool_:
        return np.array([rng.random() < 0.5 for _ in range(count)], np.bool_).reshape(shape)
    if dtype.kind in "iu":
        return _integers(rng, dtype, count, wild=wild).reshape(shape)
    numbers = [_float(rng, wild=wild) for _ in range(count)]
    with np.errstate(all="ignore"):
        return np.array(numbers, np.float64).astype(dtype).reshape(shape)


def _float(rng: random.Random, *, wild: bool) -> float:
    if wild and rng.random() < 0.25:
        return rng.choice(_SPECIAL)
    if wild and rng.random() < 0.3:
        return rng.gauss(0, 3)
    return rng.randint(-32, 32) / 8


def _integers(rng: random.Random, dtype: np.dtype[np.generic], count: int, *, wild: bool) -> Array:
    info = np.iinfo(str(dtype))
    low = max(info.min, -4)
    numbers = [
        rng.choice((info.min, info.max, info.min + 1, info.max - 1, rng.randint(info.min, info.max)))
        if wild and rng.random() < 0.2
        else rng.randint(low, 5)
        for _ in range(count)
    ]
    return np.array(numbers, dtype)


def fill(number: int, shape: Sequence[int], what: float) -> Array:
    """One number everywhere."""
    with np.errstate(all="ignore"):
        return np.full(shape, what, np.float64).astype(_NUMPY[number])
