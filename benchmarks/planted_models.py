"""Networks of 50 to 1,000 nodes with a place for each planted bug: convolutions with residuals, and an encoder of attention layers.

Both are the same on every machine, have a dynamic batch, and keep their numbers near one, whatever the depth.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from graphopt.ir import DType, GraphBuilder, Model, Value

__all__ = ["convolutions", "encoder"]

_FLOAT, _INT64, _DOUBLE = 1, 7, 11
_CHANNELS, _SIDE = 8, 8
_TOKENS, _WIDTH, _HEADS = 4, 16, 2


def _weights(rng: np.random.Generator, *shape: int, fan: int) -> npt.NDArray[np.float32]:
    return rng.standard_normal(shape, dtype=np.float32) / np.float32(np.sqrt(fan))


def convolutions(blocks: int, *, seed: int = 0) -> Model:
    """Return a residual network of `blocks` blocks of 14 to 16 nodes: pad, convolution, normalization, clips, pooling, casts, slices.

    In every fourth block the convolution has a second user, which a fold of the normalization must see.
    """
    rng = np.random.default_rng(seed)
    b = GraphBuilder(opset=17, name="convolutions")
    x = b.input("x", DType.FLOAT, ["n", _CHANNELS, _SIDE, _SIDE])
    for index in range(blocks):
        x = _block(b, x, rng, f"block{index}", shared=index % 4 == 3)
    pooled = b.Flatten(b.GlobalAveragePool(x, name="pool"), name="flat")
    b.output(b.MatMul(pooled, _weights(rng, _CHANNELS, 10, fan=_CHANNELS), name="classes"), "y", DType.FLOAT, ["n", 10])
    return b.build()


def _block(b: GraphBuilder, x: Value, rng: np.random.Generator, name: str, *, shared: bool) -> Value:
    padded = b.Pad(x, np.array([0, 0, 2, 2, 0, 0, 0, 0], np.int64), name=f"{name}/pad")  # above and left only
    conv = b.Conv(
        padded,
        _weights(rng, _CHANNELS, _CHANNELS, 3, 3, fan=9 * _CHANNELS),
        _weights(rng, _CHANNELS, fan=4),
        name=f"{name}/conv",
    )
    spread = [
        rng.uniform(low, high, _CHANNELS).astype(np.float32) for low, high in ((0.5, 1), (-1, 1), (-1, 1), (0.1, 0.5))
    ]
    y = b.BatchNormalization(conv, *spread, epsilon=0.1, name=f"{name}/bn")
    if shared:
        y = b.Add(y, b.Sigmoid(conv, name=f"{name}/gate"), name=f"{name}/gated")
    y = b.Clip(
        b.Clip(y, np.float32(-2), np.float32(2), name=f"{name}/clip"),
        np.float32(-1),
        np.float32(3),
        name=f"{name}/clip2",
    )
    y = b.AveragePool(y, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1, name=f"{name}/average")
    y = b.Mul(y, rng.uniform(0.1, 0.5, (_CHANNELS, 1, 1)).astype(np.float32), name=f"{name}/scale")
    left = b.Slice(y, np.array([0]), np.array([_CHANNELS // 2]), np.array([1]), name=f"{name}/left")
    right = b.Slice(y, np.array([_CHANNELS // 2]), np.array([_CHANNELS]), np.array([1]), name=f"{name}/right")
    y = b.Concat(right, left, axis=1, name=f"{name}/shuffle")
    y = b.Cast(b.Cast(y, to=_DOUBLE, name=f"{name}/wide"), to=_FLOAT, name=f"{name}/narrow")
    y = b.Add(y, x, name=f"{name}/residual")
    return b.Div(y, np.float32(1.03), name=f"{name}/half")


def encoder(layers: int, *, seed: int = 0) -> Model:
    """Return an encoder of `layers` layers of 42 nodes: normalization spelled out, attention, a feed-forward net, and some arithmetic."""
    rng = np.random.default_rng(seed)
    b = GraphBuilder(opset=17, name="encoder")
    x = b.input("x", DType.FLOAT, ["n", _TOKENS, _WIDTH])
    for index in range(layers):
        name = f"layer{index}"
        x = b.Add(
            x, _attention(b, _normalized(b, x, rng, f"{name}/ln1"), rng, f"{name}/attention"), name=f"{name}/add1"
        )
        x = b.Add(x, _feed_forward(b, x, rng, f"{name}/ffn"), name=f"{name}/add2")
        x = b.Tanh(x, name=f"{name}/tanh")
    b.output(x, "y", DType.FLOAT, ["n", _TOKENS, _WIDTH])
    return b.build()


def _normalized(b: GraphBuilder, x: Value, rng: np.random.Generator, name: str) -> Value:
    centred = b.Sub(x, b.ReduceMean(x, axes=[-1], name=f"{name}/mean"), name=f"{name}/centred")
    square = b.Pow(centred, np.float32(2), name=f"{name}/square")
    deviation = b.Sqrt(
        b.Add(b.ReduceMean(square, axes=[-1], name=f"{name}/variance"), np.float32(1e-2)), name=f"{name}/deviation"
    )
    scaled = b.Mul(b.Div(centred, deviation, name=f"{name}/divided"), rng.uniform(0.9, 1.1, _WIDTH).astype(np.float32))
    return b.Sub(scaled, _weights(rng, _WIDTH, fan=4), name=f"{name}/shifted")


def _attention(b: GraphBuilder, x: Value, rng: np.random.Generator, name: str) -> Value:
    depth = _WIDTH // _HEADS
    q, k, v = (
        b.Reshape(
            b.Add(b.MatMul(x, _weights(rng, _WIDTH, _WIDTH, fan=_WIDTH)), _weights(rng, _WIDTH, fan=_WIDTH)),
            np.array([0, _TOKENS, _HEADS, depth]),
            name=f"{name}/{part}",
        )
        for part in "qkv"
    )
    keys = b.Transpose(b.Transpose(k, perm=[0, 2, 1, 3], name=f"{name}/heads"), perm=[0, 1, 3, 2], name=f"{name}/keys")
    queries, values = (b.Transpose(item, perm=[0, 2, 1, 3]) for item in (q, v))
    scores = b.Div(b.MatMul(queries, keys, name=f"{name}/scores"), np.float32(2.8284271), name=f"{name}/scaled")
    flipped = b.Transpose(scores, perm=[0, 1, 3, 2], name=f"{name}/flipped")
    twice = b.Transpose(scores, perm=[0, 2, 1, 3], name=f"{name}/turned")
    back = b.Transpose(twice, perm=[0, 2, 1, 3], name=f"{name}/turned_back")
    mixed = b.Softmax(b.Add(back, b.Abs(flipped, name=f"{name}/abs")), axis=-1, name=f"{name}/softmax")
    joined = b.Transpose(b.MatMul(mixed, values, name=f"{name}/mixed"), perm=[0, 2, 1, 3], name=f"{name}/joined")
    flat = b.Reshape(joined, np.array([0, _TOKENS, _WIDTH]), name=f"{name}/flat")
    return b.MatMul(flat, _weights(rng, _WIDTH, _WIDTH, fan=_WIDTH), name=f"{name}/out")


def _feed_forward(b: GraphBuilder, x: Value, rng: np.random.Generator, name: str) -> Value:
    hidden = b.Add(
        b.MatMul(x, _weights(rng, _WIDTH, 2 * _WIDTH, fan=_WIDTH)),
        _weights(rng, 2 * _WIDTH, fan=_WIDTH),
        name=f"{name}/hidden",
    )
    steps = b.Cast(
        b.Cast(b.Mul(hidden, np.float32(16)), to=_INT64, name=f"{name}/steps"), to=_FLOAT, name=f"{name}/stepped"
    )
    size = b.Sqrt(b.Mul(steps, steps, name=f"{name}/squared"), name=f"{name}/size")
    wide = b.Cast(
        b.Cast(b.Div(size, np.float32(16.03)), to=_DOUBLE, name=f"{name}/wide"), to=_FLOAT, name=f"{name}/narrow"
    )
    return b.Add(
        b.MatMul(b.Relu(wide), _weights(rng, 2 * _WIDTH, _WIDTH, fan=2 * _WIDTH)), _weights(rng, _WIDTH, fan=_WIDTH)
    )
