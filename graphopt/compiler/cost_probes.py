"""Small models, a node or two each, in which every class of operators meets small and large tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from graphopt.ir import Array, DType, GraphBuilder, Value
from graphopt.serde import emit_model

__all__ = ["Probe", "probes"]

_OPSET: Final = 17
#: Shapes of images [N, C, H, W] and of sequences [N, L, C].
_IMAGES: Final = ((1, 16, 8, 8), (1, 32, 28, 28), (1, 64, 56, 56), (1, 24, 112, 112))
_SEQUENCES: Final = ((1, 8, 64), (1, 64, 128), (1, 128, 384), (2, 256, 512))
_Build = Callable[[GraphBuilder, Value, tuple[int, ...]], Value]


@dataclass(frozen=True)
class Probe:
    """A small model.

    Attributes:
        name: what is in it.
        model: it, serialized.
        feeds: inputs by name.
    """

    name: str
    model: bytes
    feeds: dict[str, Array]


def probes(seed: int = 0) -> Iterator[Probe]:
    """All of them.

    Args:
        seed: of weights and inputs.

    Example:
        >>> next(probes()).name
        'conv 1x1 (1, 16, 8, 8)'
    """
    rng = np.random.default_rng(seed)
    for name, shapes, build in _kinds(rng):
        for shape in shapes:
            yield _probe(name, shape, build, rng)


def _probe(name: str, shape: tuple[int, ...], build: _Build, rng: np.random.Generator) -> Probe:
    b = GraphBuilder(_OPSET)
    x = b.input("x", DType.FLOAT, shape)
    b.output(build(b, x, shape), "y")
    model = emit_model(b.build()).SerializeToString()
    feeds: dict[str, Array] = {"x": rng.random(shape, np.float32) + np.float32(0.1)}
    return Probe(f"{name} {shape}", model, feeds)


def _kinds(rng: np.random.Generator) -> Iterator[tuple[str, tuple[tuple[int, ...], ...], _Build]]:
    def weight(*shape: int) -> Array:
        return rng.standard_normal(shape, np.float32) / np.float32(8)

    def conv(size: int) -> _Build:
        pads = [size // 2] * 4
        return lambda b, x, shape: b.Conv(
            x, weight(shape[1], shape[1], size, size), kernel_shape=[size, size], pads=pads
        )

    def depthwise(size: int) -> _Build:
        pads = [size // 2] * 4
        return lambda b, x, shape: b.Conv(
            x, weight(shape[1], 1, size, size), kernel_shape=[size, size], pads=pads, group=shape[1]
        )

    def product(b: GraphBuilder, x: Value, shape: tuple[int, ...]) -> Value:
        return b.Add(b.MatMul(x, weight(shape[-1], shape[-1])), weight(shape[-1]))

    def scores(b: GraphBuilder, x: Value, shape: tuple[int, ...]) -> Value:
        return b.Softmax(b.MatMul(x, b.Transpose(x, perm=[0, 2, 1])), axis=-1)

    def quantized(b: GraphBuilder, x: Value, shape: tuple[int, ...]) -> Value:
        y, scale, zero = b.op("DynamicQuantizeLinear", x, outputs=3)
        w = rng.integers(-9, 9, (shape[-1], shape[-1])).astype(np.int8)
        return b.Mul(b.Cast(b.MatMulInteger(y, w, zero), to=int(DType.FLOAT)), scale)

    def normalization(b: GraphBuilder, x: Value, shape: tuple[int, ...]) -> Value:
        return b.LayerNormalization(x, weight(shape[-1]), weight(shape[-1]))

    def attention(b: GraphBuilder, x: Value, shape: tuple[int, ...]) -> Value:
        return b.op("com.microsoft::MultiHeadAttention", x, x, x, num_heads=4)

    def recurrent(b: GraphBuilder, x: Value, shape: tuple[int, ...]) -> Value:
        hidden = shape[-1] // 2
        gates = weight(1, 4 * hidden, shape[-1]), weight(1, 4 * hidden, hidden)
        return b.op("LSTM", b.Transpose(x, perm=[1, 0, 2]), *gates, hidden_size=hidden, outputs=2)[0]

    def unary(op: str, **attributes: object) -> _Build:
        return lambda b, x, shape: b.node(op, x, **attributes).output  # type: ignore[arg-type]  # of the operator

    def gather(b: GraphBuilder, x: Value, shape: tuple[int, ...]) -> Value:
        return b.Gather(x, np.arange(shape[1])[::-1].copy(), axis=1)

    def concat(b: GraphBuilder, x: Value, shape: tuple[int, ...]) -> Value:
        first, second = b.op("Split", x, np.array([shape[1] // 2, shape[1] - shape[1] // 2]), axis=1, outputs=2)
        return b.Concat(second, first, axis=1)

    def resize(b: GraphBuilder, x: Value, shape: tuple[int, ...]) -> Value:
        return b.Resize(
            x, None, np.array([1, 1, 2, 2], np.float32), mode="linear", coordinate_transformation_mode="half_pixel"
        )

    def view(b: GraphBuilder, x: Value, shape: tuple[int, ...]) -> Value:
        return b.Unsqueeze(b.Reshape(x, np.array([shape[0], -1])), np.array([0]))

    def slices(b: GraphBuilder, x: Value, shape: tuple[int, ...]) -> Value:
        return b.Pad(b.Slice(x, np.array([1]), np.array([shape[1]]), np.array([1])), np.array([0] * len(shape) * 2))

    every = (*_IMAGES, *_SEQUENCES)
    yield "conv 1x1", _IMAGES, conv(1)
    yield "conv 3x3", _IMAGES, conv(3)
    yield "depthwise 3x3", _IMAGES, depthwise(3)
    yield "depthwise 5x5", _IMAGES, depthwise(5)
    yield "max pool", _IMAGES, unary("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    yield "global pool", _IMAGES, unary("GlobalAveragePool")
    yield "product", _SEQUENCES, product
    yield "scores", _SEQUENCES, scores
    yield "quantized product", _SEQUENCES, quantized
    yield "normalization", _SEQUENCES, normalization
    yield "attention", _SEQUENCES, attention
    yield "recurrent", _SEQUENCES, recurrent
    yield "mean", every, unary("ReduceMean", axes=[-1], keepdims=1)
    yield "relu", every, unary("Relu")
    yield "product with itself", every, lambda b, x, shape: b.Mul(x, x)
    for op in ("Erf", "Tanh", "Sigmoid", "Exp"):
        yield op.lower(), every, unary(op)
    yield "conversion", every, lambda b, x, shape: b.Cast(b.Cast(x, to=int(DType.INT32)), to=int(DType.FLOAT))
    yield "transpose", _SEQUENCES, unary("Transpose", perm=[0, 2, 1])
    yield "transpose", _IMAGES, unary("Transpose", perm=[0, 2, 3, 1])
    yield "gather", every, gather
    yield "resize", _IMAGES, resize
    yield "softmax", every, unary("Softmax", axis=-1)
    yield "concat", every, concat
    yield "slice", every, slices
    yield "view", every, view
