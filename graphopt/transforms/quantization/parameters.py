"""Scale and zero point: from ranges and weights, and what numbers become by them.

``stored = saturate(round_half_even(real / scale) + zero_point)``, ``real = (stored - zero_point) * scale``: the ONNX operators
QuantizeLinear and DequantizeLinear. Arithmetic is in float32, as runtimes do it.
"""

from __future__ import annotations

from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from graphopt.ir import Array, Constant, DType, Quantization
from graphopt.passes import Range

__all__ = [
    "activation_quantization",
    "bias_quantization",
    "dequantized",
    "expanded",
    "fitted_to_bias",
    "integer_range",
    "quantized",
    "represented",
    "round_trip",
    "weight_quantization",
]

#: Element types that numbers may be stored in, with the smallest and the largest integer.
_ENDS: Final = {
    DType.INT8: (-128, 127),
    DType.UINT8: (0, 255),
    DType.INT16: (-32768, 32767),
    DType.UINT16: (0, 65535),
    DType.INT4: (-8, 7),
    DType.UINT4: (0, 15),
    DType.INT2: (-2, 1),
    DType.UINT2: (0, 3),
    DType.INT32: (-(2**31), 2**31 - 1),
}
#: Types whose numbers are floats without loss.
_PLAIN: Final = frozenset({DType.INT8, DType.UINT8, DType.INT16, DType.UINT16})
#: How many steps a bias may have: a quarter of what int32 holds, so that sums of products fit beside it.
_BIAS_STEPS: Final = 2**29
_Floats = NDArray[np.floating[Any]]
_SMALLEST: Final = float(np.finfo(np.float32).tiny)


def integer_range(dtype: DType, *, symmetric: bool = False, reduce_range: bool = False) -> tuple[int, int]:
    """The smallest and largest integer that are used of a type.

    Args:
        dtype: int2 to int16, uint2 to uint16, int32.
        symmetric: leave out the smallest number of a signed type, so that -x is there for each x.
        reduce_range: use one bit less.

    Example:
        >>> integer_range(DType.INT8, symmetric=True), integer_range(DType.INT8, symmetric=True, reduce_range=True)
        ((-127, 127), (-63, 63))
    """
    low, high = _ENDS[dtype]
    if reduce_range:
        low, high = -(-low // 2), high // 2
    if symmetric and low < 0:
        low = -high
    return low, high


def activation_quantization(
    found: Range, dtype: DType, *, symmetric: bool = False, reduce_range: bool = False
) -> Quantization:
    """One scale and zero point for a range, in which zero is exact.

    Args:
        found: the range; widened to contain zero. One that is zero alone gets the scale 1.
        dtype: stored type.
        symmetric: zero point 0 for signed types, the middle for unsigned ones.
        reduce_range: use one bit less.

    Returns:
        Scalar float32 scale, positive and normal; scalar zero point in the range of the type.

    Example:
        >>> made = activation_quantization(Range(-1.0, 1.55), DType.UINT8)
        >>> round(float(made.scale.numpy()), 4), int(made.zero_point.numpy())
        (0.01, 100)
    """
    least, most = integer_range(dtype, symmetric=symmetric, reduce_range=reduce_range)
    low, high = min(found.low, 0.0), max(found.high, 0.0)
    if symmetric:
        middle = 0 if least < 0 else (least + most + 1) // 2
        scale, zero = _positive(max(-low, high) / (most - middle)), middle
    else:
        scale = _positive(high / (most - least) - low / (most - least))
        zero = int(np.clip(round(least - low / scale), least, most))
    return Quantization(dtype, Constant(np.array(scale, np.float32)), Constant(np.array(zero, dtype.numpy)))


def weight_quantization(
    weights: Array,
    dtype: DType,
    *,
    axis: int | None = None,
    block: int = 0,
    symmetric: bool = True,
    reduce_range: bool = False,
) -> Quantization:
    """Scales and zero points that represent the smallest and the largest weight, by rounding to nearest.

    Args:
        weights: float array; zero-size parts get the scale 1.
        dtype: stored type.
        axis: channel axis, or the one to cut into blocks; ``None`` for one scale for all.
        block: numbers along ``axis`` that share a scale, 0 for all of a channel; the last block may be shorter.
        symmetric: zero point 0 for signed types, the middle for unsigned ones.
        reduce_range: use one bit less.

    Example:
        >>> weight_quantization(np.array([[1.27, 0], [0, -2.54]], np.float32), DType.INT8, axis=0).scale.numpy()
        array([0.01, 0.02], dtype=float32)
    """
    least, most = integer_range(dtype, symmetric=symmetric, reduce_range=reduce_range)
    smallest, largest = _extremes(np.asarray(weights, np.float32), axis, block)
    low, high = np.minimum(smallest, 0), np.maximum(largest, 0)
    if symmetric:
        middle = 0 if least < 0 else (least + most + 1) // 2
        scale = np.maximum(-low, high) / np.float32(most - middle)
        scale = np.where(scale < _SMALLEST, np.float32(1), scale).astype(np.float32)
        zero = np.full(scale.shape, middle)
    else:
        scale = high / np.float32(most - least) - low / np.float32(most - least)
        scale = np.where(scale < _SMALLEST, np.float32(1), scale).astype(np.float32)
        zero = np.clip(np.rint(least - low / scale), least, most)
    return Quantization(dtype, Constant(scale), Constant(zero.astype(np.int64).astype(dtype.numpy)), axis, block)


def bias_quantization(read: Quantization, weights: Quantization) -> Quantization:
    """How the bias of a layer is stored: int32 in steps of the layer's products, without zero points.

    Args:
        read: of what the layer reads, one scale.
        weights: of its weights, one scale or one for each output channel.

    Returns:
        Scale of the shape that the weights' scale has, along axis 0 of the bias.
    """
    scale = (read.scale.numpy().astype(np.float32) * weights.scale.numpy().astype(np.float32)).astype(np.float32)
    zero = np.zeros(scale.shape, np.int32)
    return Quantization(DType.INT32, Constant(scale), Constant(zero), None if weights.axis is None else 0)


def fitted_to_bias(weights: Quantization, array: Array, read: Quantization, bias: Array) -> Quantization:
    """Weights with scales so large that int32 holds the bias in steps of the layer's products, and normal products of scales.

    A channel whose weights are all zero (scale 1) gets a scale that represents its bias well instead.

    Args:
        weights: symmetric quantization of weights, one scale or one for each output channel.
        array: the weights.
        read: of what the layer reads.
        bias: float [channels].
    """
    step = float(read.scale.numpy())
    smallest, most = _extremes(np.asarray(array, np.float32), weights.axis, 0)
    empty = np.maximum(-smallest, most) < _SMALLEST
    scale = np.where(empty, 0.0, weights.scale.numpy().astype(np.float64))
    largest = np.abs(np.asarray(bias, np.float64))
    largest = largest if scale.ndim else largest.max(initial=0.0)
    least = np.maximum(largest / (step * _BIAS_STEPS), _SMALLEST / min(step, 1.0))
    fitted = np.maximum(scale, least).astype(np.float32)
    if (fitted == weights.scale.numpy()).all():
        return weights
    return Quantization(weights.dtype, Constant(fitted), weights.zero_point, weights.axis, weights.block)


def represented(how: Quantization) -> tuple[float, float]:
    """The smallest and the largest number that integers with one scale stand for.

    Example:
        >>> [round(end, 4) for end in represented(activation_quantization(Range(0.0, 2.55), DType.UINT8))]
        [0.0, 2.55]
    """
    least, most = _ENDS[how.dtype]
    scale, zero = np.float32(how.scale.numpy()), int(how.zero_point.numpy())
    return float(np.float32(least - zero) * scale), float(np.float32(most - zero) * scale)


def expanded(parameter: Array, shape: tuple[int, ...], axis: int | None, block: int = 0) -> Array:
    """A scale or zero point as an array that broadcasts against one of ``shape``.

    Args:
        parameter: scalar, [channels], or of the rank of ``shape`` with one number for each block along ``axis``.
        shape: of the array.
        axis: as in :class:`graphopt.ir.Quantization`.
        block: the same.
    """
    if axis is None:
        return parameter
    if block:
        return np.repeat(parameter, block, axis=axis)[
            tuple(slice(size) if at == axis % len(shape) else slice(None) for at, size in enumerate(shape))
        ]
    return parameter.reshape([-1 if at == axis % len(shape) else 1 for at in range(len(shape))])


def quantized(array: Array, how: Quantization, *, symmetric: bool = False, reduce_range: bool = False) -> Array:
    """What numbers are stored as.

    Args:
        array: float array.
        how: the parameters.
        symmetric: whether the smallest number of a signed type is not used.
        reduce_range: whether one bit less is used.

    Returns:
        Array of ``how.dtype`` and the same shape.
    """
    least, most = integer_range(how.dtype, symmetric=symmetric, reduce_range=reduce_range)
    scale, zero = _spread(array, how)
    with np.errstate(over="ignore"):  # saturates
        steps = np.rint(np.asarray(array, np.float32) / scale) + zero
    numbers = np.clip(steps, least, most)
    if how.dtype not in _PLAIN:  # floats hold neither the largest int32, nor can all libraries make few bits of them
        numbers = numbers.astype(np.int64)
    return cast("Array", numbers.astype(how.dtype.numpy))


def dequantized(stored: Array, how: Quantization) -> Array:
    """The float32 numbers that stored ones stand for."""
    scale, zero = _spread(stored, how)
    return cast("Array", (stored.astype(np.float32) - zero) * scale)


def round_trip(array: Array, how: Quantization) -> Array:
    """What numbers become by being stored, float32: within half a step of what they were, where they did not saturate."""
    return dequantized(quantized(array, how), how)


def _spread(array: Array, how: Quantization) -> tuple[_Floats, _Floats]:
    scale = expanded(how.scale.numpy().astype(np.float32), array.shape, how.axis, how.block)
    zero = expanded(how.zero_point.numpy().astype(np.float32), array.shape, how.axis, how.block)
    return cast("_Floats", scale), cast("_Floats", zero)


def _positive(scale: float) -> float:
    return scale if scale >= _SMALLEST else 1.0


def _extremes(weights: _Floats, axis: int | None, block: int) -> tuple[_Floats, _Floats]:
    if axis is None:
        return np.asarray(weights.min(initial=0.0)), np.asarray(weights.max(initial=0.0))
    axis %= weights.ndim
    if not block:
        others = tuple(at for at in range(weights.ndim) if at != axis)
        return weights.min(axis=others, initial=0.0), weights.max(axis=others, initial=0.0)
    lacking = -weights.shape[axis] % block
    padded = np.pad(weights, [(0, lacking if at == axis else 0) for at in range(weights.ndim)])
    cut = padded.reshape(*weights.shape[:axis], -1, block, *weights.shape[axis + 1 :])
    return cut.min(axis=axis + 1, initial=0.0), cut.max(axis=axis + 1, initial=0.0)
