"""Weights to integers by rounding to nearest, with the range of each scale chosen by squared error.

The range that holds the smallest and the largest weight of a block is not the best one: a little less makes all steps smaller and cuts
off a few weights. A handful of shrunk ranges is tried for each block, and the one of least squared error is kept; the whole range is
among them, so that the error is never larger than by plain rounding. Signed integers use their smallest number too, which a block whose
weight of largest magnitude is negative needs.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from graphopt.ir import Array, Constant, DType, Quantization
from graphopt.transforms.quantization.parameters import integer_range, quantized

__all__ = ["rounded_weights"]

_Floats = NDArray[np.floating[Any]]
#: Parts of the whole range that are tried; 0.875 of it makes -8 of a 4-bit number exact.
_PARTS: Final = (1.0, 0.975, 0.95, 0.925, 0.9, 0.875, 0.85, 0.8, 0.75, 0.7, 0.65)
#: Ranges of 16 bits are whole: their steps are fine enough.
_WIDE: Final = 16
#: Numbers that are looked at together, so that they stay near the processor.
_TOGETHER: Final = 1 << 17
_SMALLEST: Final = float(np.finfo(np.float32).tiny)


def rounded_weights(
    weights: Array, dtype: DType, *, axis: int, block: int = 0, symmetric: bool = True, like: DType = DType.FLOAT
) -> tuple[Array, Quantization]:
    """Weights as integers, and the scales and zero points that say what they mean.

    Args:
        weights: finite floats of any shape, none of its sizes 0.
        dtype: int8, uint8, int4, uint4 or int16.
        axis: the channel axis; with ``block`` the one that is cut into blocks.
        block: numbers along ``axis`` that share a scale, 0 for all of a channel; the last block may be shorter.
        symmetric: zero point 0 of signed types, the middle of unsigned ones.
        like: element type that scales are to be exact in.

    Returns:
        Integers of the shape of ``weights``; positive scales, [channels] or of the rank of ``weights`` with one for each block.

    Example:
        >>> stored, how = rounded_weights(np.array([[1.0, -8.0], [0.5, 3.5]], np.float32), DType.INT4, axis=0)
        >>> stored.astype(int).tolist(), how.scale.numpy().tolist()
        ([[1, -8], [1, 7]], [1.0, 0.5])
    """
    wide = np.asarray(weights, np.float32)
    groups = _grouped(wide, axis, block)
    scale, zero = np.empty(len(groups), np.float32), np.empty(len(groups), np.float32)
    step = max(1, _TOGETHER // groups.shape[1])
    for start in range(0, len(groups), step):
        part = slice(start, start + step)
        scale[part], zero[part] = _best(groups[part], dtype, symmetric=symmetric, like=like)
    shape = _parameter_shape(wide.shape, axis, block)
    how = Quantization(
        dtype,
        Constant(_spread(scale, shape, axis)),
        Constant(_spread(zero, shape, axis).astype(np.int64).astype(dtype.numpy)),
        axis % wide.ndim,
        block,
    )
    return quantized(wide, how), how


def _grouped(weights: _Floats, axis: int, block: int) -> _Floats:
    """One row for each scale; blocks that are too short are filled with zeros, which every scale represents."""
    if not block:
        return np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)
    last = np.moveaxis(weights, axis, -1)
    lacking = -last.shape[-1] % block
    padded = np.pad(last, [(0, 0)] * (last.ndim - 1) + [(0, lacking)]) if lacking else last
    return padded.reshape(-1, block)


def _parameter_shape(shape: tuple[int, ...], axis: int, block: int) -> tuple[int, ...]:
    """Shape of the scales, the cut axis moved to the end."""
    axis %= len(shape)
    if not block:
        return (shape[axis],)
    return (*(size for at, size in enumerate(shape) if at != axis), -(-shape[axis] // block))


def _spread(numbers: _Floats, shape: tuple[int, ...], axis: int) -> _Floats:
    found = numbers.reshape(shape)
    return found if found.ndim == 1 else np.ascontiguousarray(np.moveaxis(found, -1, axis))


def _best(rows: _Floats, dtype: DType, *, symmetric: bool, like: DType) -> tuple[_Floats, _Floats]:
    """Scale and zero point of each row, by the least squared error."""
    least, most = integer_range(dtype)
    low, high = np.minimum(rows.min(1), 0), np.maximum(rows.max(1), 0)
    if symmetric:
        middle = 0 if least < 0 else (least + most + 1) // 2
        whole = np.maximum(-low, high) / np.float32(most - middle)
        zero = np.full(len(rows), middle, np.float32)
    else:
        whole = high / np.float32(most - least) - low / np.float32(most - least)
        positive = np.where(whole < _SMALLEST, np.float32(1), whole)
        zero = np.clip(np.rint(least - low / positive), least, most).astype(np.float32)
    ends = (least - zero)[:, None], (most - zero)[:, None]
    best = np.full(len(rows), np.inf, np.float32)
    scale = np.ones(len(rows), np.float32)
    for part in _PARTS if dtype.bits < _WIDE else _PARTS[:1]:
        tried = _exact(whole * np.float32(part), like)
        steps = rows / tried[:, None]
        away = np.rint(steps)
        np.clip(away, ends[0], ends[1], out=away)
        away -= steps
        error = np.einsum("nk,nk->n", away, away) * np.float32(
            part * part
        )  # in steps of the whole range: nothing overflows
        scale = np.where(error < best, tried, scale)
        best = np.minimum(best, error)
    return scale, zero


def _exact(scale: _Floats, like: DType) -> _Floats:
    """Scales that an element type holds, and that are neither 0 nor subnormal in float32."""
    found = scale.astype(like.numpy).astype(np.float32)
    return np.where(found < _SMALLEST, np.float32(1), found).astype(np.float32)
