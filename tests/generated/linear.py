"""Generated nodes with weights: products, convolutions, normalizations, pooling, reductions, quantization, and what fuses with them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import TensorProto

from graphopt.ir import Array
from tests.generated.elementwise import operand_shape
from tests.generated.movement import ints
from tests.generated.numbers import dtype_number, fill, tensor
from tests.generated.scope import Scope

__all__ = ["MOVES"]

_REDUCTIONS = (
    "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp",
)  # fmt: skip


def _is_float(array: Array) -> bool:
    return array.dtype.kind == "f"


def _numbers(scope: Scope, like: Array, shape: tuple[int, ...]) -> Array:
    return tensor(scope.world.rng, dtype_number(like), shape, wild=False)


def _weights(scope: Scope, like: Array, shape: tuple[int, ...]) -> str:
    """Weights, constant mostly."""
    if scope.world.chance(0.15):
        found = scope.pick(lambda a: a.dtype == like.dtype and a.shape == shape)
        if found is not None:
            return found
    return scope.constant(_numbers(scope, like, shape))


def _channels(scope: Scope, y: str | None, axis: int) -> object:
    """What follows a linear operator: BatchNormalization, or arithmetic with one number a channel."""
    rng = scope.world.rng
    if y is None or rng.random() < 0.2:
        return y
    like = scope.arrays[y]
    if not like.ndim:
        return y
    if rng.random() < 0.4:
        return batch_norm(scope, y)
    shape = [1] * like.ndim
    shape[axis] = like.shape[axis]
    trimmed = (
        shape[rng.randint(0, axis % like.ndim) :] if rng.random() < 0.7 else list(operand_shape(scope, like.shape))
    )
    if rng.random() < 0.2:
        trimmed = []
    constant = scope.constant(
        _numbers(scope, like, tuple(trimmed)) if rng.random() < 0.8 else fill(dtype_number(like), trimmed, 2.0)
    )
    op = rng.choice(("Add", "Mul", "Sub", "Div"))
    inputs = [constant, y] if rng.random() < 0.3 else [y, constant]
    found = scope.one(op, inputs)
    return _activation(scope, found) if found and rng.random() < 0.3 else found


def _activation(scope: Scope, y: str) -> object:
    op = scope.world.rng.choice(("Relu", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid"))
    return scope.one(op, [y])


def matmul(scope: Scope) -> object:
    """MatMul with a constant or computed factor, then Add or the like."""
    rng = scope.world.rng
    a = scope.pick(lambda x: _is_float(x) and x.ndim > 0 and x.size > 0)
    if a is None:
        return None
    like = scope.arrays[a]
    width = rng.choice((1, 2, 3, like.shape[-1]))
    shape = rng.choice(((like.shape[-1], width), (like.shape[-1], width), (like.shape[-1],)))
    return _channels(scope, scope.one("MatMul", [a, _weights(scope, like, shape)]), -1)


def gemm(scope: Scope) -> object:
    """Gemm, transposed any way, with every addend there may be; Transpose before it now and then."""
    rng = scope.world.rng
    a = scope.pick(lambda x: _is_float(x) and x.ndim == 2 and x.size > 0)
    if a is None:
        return None
    like = scope.arrays[a]
    if rng.random() < 0.3:
        a = scope.one("Transpose", [a], perm=rng.choice((None, [1, 0]))) or a
    trans_a, trans_b = rng.choice((0, 1)), rng.choice((0, 1))
    rows, inner = scope.arrays[a].shape[:: -1 if trans_a else 1]
    columns = rng.choice((1, 2, 3, rows))
    b = _weights(scope, like, (columns, inner) if trans_b else (inner, columns))
    addend = None
    if rng.random() < 0.6 or scope.world.opset < 11:
        addend = _weights(scope, like, rng.choice(((columns,), (1, columns), (rows, 1), (rows, columns), (), (1,))))
    scale = {"alpha": rng.choice((None, 0.5, 2.0)), "beta": rng.choice((None, 0.5, 0.0))}
    y = scope.one("Gemm", [a, b, addend], transA=trans_a or None, transB=trans_b or None, **scale)
    return _channels(scope, y, 1)


def conv(scope: Scope) -> object:
    """Conv or ConvTranspose in one to three dimensions, groups, pads, after Pad or a scale, then what fuses with it."""
    rng = scope.world.rng
    x = scope.pick(lambda a: _is_float(a) and a.ndim in (3, 4, 5) and a.size > 0)
    if x is None:
        return None
    like = scope.arrays[x]
    x = _before_conv(scope, x) or x
    like = scope.arrays[x]
    channels, spatial = like.shape[1], like.ndim - 2
    group = rng.choice([g for g in (1, 1, channels, 2) if channels % g == 0])
    per_group = rng.choice((1, 2))
    kernel = tuple(rng.choice((1, 1, 2, 3)) for _ in range(spatial))
    transposed = rng.random() < 0.3
    shape = (channels, per_group, *kernel) if transposed else (per_group * group, channels // group, *kernel)
    bias = scope.constant(_numbers(scope, like, (per_group * group,))) if rng.random() < 0.5 else None
    attributes: dict[str, object] = {"group": group if group > 1 or rng.random() < 0.5 else None}
    if rng.random() < 0.5:
        attributes["pads"] = [rng.choice((0, 1)) for _ in range(2 * spatial)]
    elif rng.random() < 0.4:
        attributes["auto_pad"] = rng.choice(("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"))
    if rng.random() < 0.3:
        attributes["strides"] = [rng.choice((1, 2)) for _ in range(spatial)]
    if rng.random() < 0.2:
        attributes["dilations"] = [rng.choice((1, 2)) for _ in range(spatial)]
    if rng.random() < 0.5:
        attributes["kernel_shape"] = list(kernel)
    y = scope.one("ConvTranspose" if transposed else "Conv", [x, _weights(scope, like, shape), bias], **attributes)
    for _ in range(rng.randint(0, 2)):
        found = _channels(scope, y, 1) if y else None
        y = found if isinstance(found, str) else y
    if y and rng.random() < 0.3:
        bounds = {"min": 0.0, "max": 6.0}
        if not scope.world.has_attribute("Clip", "min"):
            return scope.one("Clip", [y, *[scope.constant(fill(scope.dtype(y), (), b)) for b in bounds.values()]])
        return scope.one("Clip", [y], **bounds)
    return y


def _before_conv(scope: Scope, x: str) -> str | None:
    rng = scope.world.rng
    like = scope.arrays[x]
    choice = rng.random()
    if choice < 0.3:
        return _spatial_pad(scope, x, 0.0)
    if choice < 0.5:
        shape = (1, like.shape[1], *[1] * (like.ndim - 2)) if rng.random() < 0.7 else operand_shape(scope, like.shape)
        return scope.one(rng.choice(("Mul", "Div")), [x, scope.constant(_numbers(scope, like, shape))])
    return None


def _spatial_pad(scope: Scope, x: str, number: float) -> str | None:
    rng = scope.world.rng
    like = scope.arrays[x]
    spatial = like.ndim - 2
    low = -1 if rng.random() < 0.15 else 0
    pads = [0, 0, *[rng.randint(low, 1) for _ in range(spatial)]] * 2
    if rng.random() < 0.1:
        pads[1] = 1
    if scope.world.has_attribute("Pad", "pads"):
        return scope.one("Pad", [x], pads=pads, value=number if rng.random() < 0.5 or number else None)
    given = scope.constant(fill(dtype_number(like), (), number)) if number or rng.random() < 0.5 else None
    if scope.world.opset >= 18 and rng.random() < 0.4:
        pads = [*pads[2 : like.ndim], *pads[like.ndim + 2 :]]
        return scope.one("Pad", [x, ints(scope, pads), given, ints(scope, list(range(-spatial, 0)))])
    return scope.one("Pad", [x, ints(scope, pads), given])


def pool(scope: Scope) -> object:
    """Pooling after Pad, over single elements, rounded up, global."""
    rng = scope.world.rng
    x = scope.pick(lambda a: _is_float(a) and a.ndim in (3, 4, 5) and a.size > 0)
    if x is None:
        return None
    if rng.random() < 0.15:
        return scope.one(rng.choice(("GlobalAveragePool", "GlobalMaxPool")), [x])
    op = rng.choice(("MaxPool", "AveragePool"))
    if rng.random() < 0.3:
        x = scope.one(rng.choice(("Relu", "Sigmoid", "Abs")), [x]) or x
    if rng.random() < 0.6:
        x = _spatial_pad(scope, x, rng.choice((0.0, 0.0, float("-inf"), -3.4028234663852886e38, 1.0))) or x
    spatial = scope.arrays[x].ndim - 2
    attributes: dict[str, object] = {"kernel_shape": [rng.choice((1, 1, 2, 3)) for _ in range(spatial)]}
    if rng.random() < 0.2:
        attributes["kernel_shape"] = [1] * spatial
    if rng.random() < 0.3:
        attributes["strides"] = [rng.choice((1, 2)) for _ in range(spatial)]
    if rng.random() < 0.3:
        attributes["pads"] = [rng.choice((0, 1)) for _ in range(2 * spatial)]
    elif rng.random() < 0.3:
        attributes["auto_pad"] = rng.choice(("SAME_UPPER", "SAME_LOWER", "VALID"))
    if rng.random() < 0.3 and scope.world.opset >= 10:
        attributes["ceil_mode"] = 1
    if op == "AveragePool" and rng.random() < 0.5:
        attributes["count_include_pad"] = 1
    outputs = 2 if op == "MaxPool" and scope.world.opset >= 8 and rng.random() < 0.3 else 1
    return scope.node(op, [x], outputs=outputs, **attributes)  # type: ignore[arg-type]  # attributes hold no domain


def batch_norm(scope: Scope, x: str | None = None) -> str | None:
    """BatchNormalization in inference form: in training form, ONNX Runtime writes over statistics that others read."""
    rng = scope.world.rng
    x = x or scope.pick(lambda a: _is_float(a) and a.ndim >= 2)
    if x is None:
        return None
    like = scope.arrays[x]
    if like.ndim < 2:
        return None
    channels = (like.shape[1],)
    numbers = [_numbers(scope, like, channels) for _ in range(4)]
    numbers[3] = np.abs(numbers[3]) + like.dtype.type(0.5)
    statistics = [scope.constant(array) for array in numbers]
    attributes: dict[str, object] = {"epsilon": rng.choice((None, 1e-3, 0.5)), "momentum": rng.choice((None, 0.5))}
    return scope.one("BatchNormalization", [x, *statistics], **attributes)


def reduction(scope: Scope) -> object:
    """Reductions over any axes, none, and axes of size 1."""
    rng = scope.world.rng
    op = rng.choice(_REDUCTIONS)
    x = scope.pick(
        lambda a: a.dtype.kind in "fi" and a.size > 0 and (a.dtype != np.int64 or bool((np.abs(a) < 1 << 40).all()))
    )
    if x is None:
        return None
    rank = scope.arrays[x].ndim
    ones = [axis for axis, size in enumerate(scope.arrays[x].shape) if size == 1]
    axes: list[int] | None = rng.sample(range(rank), rng.randint(0, rank)) if rng.random() < 0.5 else ones
    axes = [axis - rank if rng.random() < 0.3 and scope.world.opset >= 11 else axis for axis in axes or ()]
    keep = rng.choice((None, 0, 1))
    if scope.world.has_attribute(op, "axes"):
        return scope.one(op, [x], axes=axes if axes and rng.random() < 0.9 else None, keepdims=keep)
    noop = rng.choice((None, 1))
    return scope.one(
        op, [x, None if rng.random() < 0.1 else ints(scope, axes)], keepdims=keep, noop_with_empty_axes=noop
    )


def arg_reduction(scope: Scope) -> object:
    """ArgMax and ArgMin."""
    x = scope.pick(lambda a: a.ndim > 0 and a.dtype.kind in "fi" and a.size > 0)
    rng = scope.world.rng
    return None if x is None else scope.one(rng.choice(("ArgMax", "ArgMin")), [x], axis=0, keepdims=rng.choice((0, 1)))


def softmax(scope: Scope) -> object:
    """Softmax and its kin."""
    rng = scope.world.rng
    x = scope.pick(lambda a: _is_float(a) and a.ndim > 0)
    return (
        None
        if x is None
        else scope.one(rng.choice(("Softmax", "LogSoftmax", "Hardmax")), [x], axis=rng.choice((None, 0)))
    )


def normalization(scope: Scope) -> object:
    """LayerNormalization and InstanceNormalization."""
    rng = scope.world.rng
    x = scope.pick(lambda a: _is_float(a) and a.ndim >= 2 and a.size > 0)  # ONNX Runtime crashes on empty ones
    if x is None:
        return None
    like = scope.arrays[x]
    if scope.world.opset >= 17 and rng.random() < 0.6:
        scale = scope.constant(_numbers(scope, like, like.shape[-1:]))
        bias = scope.constant(_numbers(scope, like, like.shape[-1:])) if rng.random() < 0.5 else None
        return scope.node("LayerNormalization", [x, scale, bias], outputs=rng.choice((1, 1, 3)))
    channels = like.shape[1:2]
    return scope.one("InstanceNormalization", [x, *[scope.constant(_numbers(scope, like, channels)) for _ in range(2)]])


def dropout(scope: Scope) -> object:
    """Dropout that drops nothing, with its mask."""
    rng = scope.world.rng
    x = scope.pick(_is_float)
    if x is None:
        return None
    outputs = rng.choice((1, 2))
    if scope.world.has_attribute("Dropout", "ratio"):
        return scope.node("Dropout", [x], outputs=1, ratio=rng.choice((None, 0.3)))
    ratio = scope.constant(np.array(0.4, np.float32)) if rng.random() < 0.5 else None
    mode = scope.constant(np.array(False)) if rng.random() < 0.4 else None
    return scope.node("Dropout", [x, ratio, mode], outputs=outputs)


def quantize(scope: Scope) -> object:
    """QuantizeLinear and DequantizeLinear, a pair mostly; quantized constants."""
    rng = scope.world.rng
    if scope.world.opset < 10:
        return None
    scale = scope.constant(np.array(rng.choice((0.125, 0.5, 1.0)), np.float32))
    number = rng.choice((TensorProto.UINT8, TensorProto.INT8))
    zero = scope.constant(fill(number, (), rng.choice((0.0, 3.0)))) if rng.random() < 0.7 else None
    x = scope.pick(lambda a: a.dtype == np.float32) if rng.random() < 0.7 else None
    if x is None:
        weights = scope.constant(tensor(rng, number if zero else TensorProto.UINT8, (2, 3), wild=True))
        return scope.one("DequantizeLinear", [weights, scale, zero])
    q = scope.one("QuantizeLinear", [x, scale, zero])
    return scope.one("DequantizeLinear", [q, scale, zero]) if q and rng.random() < 0.8 else q


MOVES: dict[Callable[[Scope], object], int] = {
    matmul: 3, gemm: 3, conv: 7, pool: 4, batch_norm: 2, reduction: 4, arg_reduction: 1, softmax: 1, normalization: 1, dropout: 2,
    quantize: 2,
}  # fmt: skip
