"""Fourier transforms as products with matrices of cosines and sines, and short ones as convolutions; lengths are known.

``X[k] = sum over n of x[n] (cos(2 pi k n / L) - i sin(2 pi k n / L))``; the inverse has the other sign, over L. Source:
https://onnx.ai/onnx/operators/onnx__DFT.html, onnx__STFT.html
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from graphopt.backends.tensorrt.converters.matrices import product
from graphopt.backends.tensorrt.converters.operands import all_of, constants, floats_only, integers, static_shape
from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.protocols import Tensor
from graphopt.backends.tensorrt.registry import lower
from graphopt.ir import Node

__all__ = ["dft", "stft"]

_COMPLEX = 2
_Floats = NDArray[np.float64]


def _waves(count: int, length: int, results: int) -> tuple[_Floats, _Floats]:
    """Cosines and sines, float64 [count, results]; what is behind the length is left out."""
    angles = 2 * np.pi * np.outer(np.arange(count), np.arange(results)) / length
    within = (np.arange(count) < length)[:, None]
    return np.cos(angles) * within, np.sin(angles) * within


def _axis(node: Node, rank: int) -> int | None:
    if (node.opset or 20) < 20:
        return node.int_attr("axis", 1) % rank
    if node.input_at(2) is None:
        return rank - 2
    found = integers(node, "", 2)
    return None if found is None else found[0] % rank


def _transformable(node: Node) -> str | None:
    shape = static_shape(node.input_at(0))
    if shape is None:
        return "a Fourier transform of sizes that are not fixed"
    if node.int_attr("inverse", 0) and node.int_attr("onesided", 0):
        return "an inverse Fourier transform of one side"
    return None


@lower("DFT", supports=all_of(floats_only, constants(1, 2), _transformable))
def dft(e: Emitter, node: Node) -> Sequence[Tensor]:
    """Two products for real numbers, four for complex ones."""
    x = e.input(node, 0)
    rank, shape = e.rank(x), tuple(x.shape)
    axis = _axis(node, rank)
    assert axis is not None, "supports() says that it is constant"
    length = (integers(node, "", 1) or (shape[axis],))[0]
    results = length // 2 + 1 if node.int_attr("onesided", 0) else length
    cosines, sines = _waves(shape[axis], length, results)
    scale = 1 / length if node.int_attr("inverse", 0) else 1.0
    sign = -1.0 if node.int_attr("inverse", 0) else 1.0
    order = [*(place for place in range(rank - 1) if place != axis), axis, rank - 1]
    moved = e.transpose(x, order)  # the axis, then real and imaginary parts
    parts = [_at_last(e, moved, place) for place in range(shape[-1])]
    dtype = e.api.ir_dtype(x.dtype)
    c, s = (e.constant((item * scale).astype(dtype.numpy), dtype) for item in (cosines, sines * sign))
    real, turned = product(e, parts[0], c), product(e, parts[0], s)
    if len(parts) == _COMPLEX:
        real = e.elementwise(real, product(e, parts[1], s), "SUM")
        imaginary = e.elementwise(product(e, parts[1], c), turned, "SUB")
    else:
        imaginary = e.unary(turned, "NEG")
    both = e.concat([e.unsqueeze(item, [rank - 1]) for item in (real, imaginary)], rank - 1)
    return [e.transpose(both, [order.index(place) for place in range(rank)])]


def _at_last(e: Emitter, x: Tensor, place: int) -> Tensor:
    """One of the real and imaginary parts, without their axis."""
    return e.gather(x, e.constant(np.array(place, np.int32)), e.rank(x) - 1)


def _real_frames(node: Node) -> str | None:
    value = node.input_at(0)
    shape = None if value is None else value.shape
    if shape is None or (len(shape) == 3 and shape[-1] != 1):
        return "short Fourier transforms of complex numbers"
    if integers(node, "", 3) is None and static_shape(node.input_at(2)) is None:
        return "frames of a length that is not known"
    return None


@lower("STFT", supports=all_of(floats_only, constants(1, 2, 3), _real_frames))
def stft(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One convolution: its kernels are waves under the window, its steps those of the frames."""
    x, window = e.input(node, 0), e.array(node, 2)
    step, told = integers(node, "", 1), integers(node, "", 3)
    assert step is not None, "supports() says that it is constant"
    length = told[0] if told else len(window)  # type: ignore[arg-type]  # one of them is there
    results = length // 2 + 1 if node.int_attr("onesided", 1) else length
    cosines, sines = _waves(length, length, results)
    shape = np.ones(length) if window is None else np.asarray(window, np.float64)
    waves = np.concatenate([cosines * shape[:, None], -sines * shape[:, None]], 1).T
    dtype = e.api.ir_dtype(x.dtype)
    flat = e.squeeze(x, [2]) if e.rank(x) == 3 else x
    kernel = e.weights(np.ascontiguousarray(waves.reshape(2 * results, 1, 1, length)).astype(dtype.numpy), dtype)
    signal = e.unsqueeze(flat, [1, 2])
    layer = e.check(
        e.network.add_convolution_nd(signal, 2 * results, (1, length), kernel, e.weights(None, dtype)), settled=False
    )
    layer.stride_nd = (1, step[0])
    found = e.squeeze(e.out(layer), [2])  # [batch, 2 * results, frames]
    halves = [_rows(e, found, place * results, results) for place in range(_COMPLEX)]
    return [e.concat([e.unsqueeze(e.transpose(item, [0, 2, 1]), [3]) for item in halves], 3)]


def _rows(e: Emitter, x: Tensor, start: int, count: int) -> Tensor:
    return e.gather(x, e.constant(np.arange(start, start + count, dtype=np.int32)), 1)
