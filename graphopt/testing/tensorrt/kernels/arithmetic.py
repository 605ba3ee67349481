"""Layers that compute numbers: unary, elementwise, activations, products, reductions, normalization."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from graphopt.ir import Array
from graphopt.testing.tensorrt.reading import Item, numpy_dtype

if TYPE_CHECKING:
    from graphopt.testing.tensorrt.evaluator import Evaluation

__all__ = ["KERNELS", "name_of"]

_erf: Final = np.vectorize(math.erf, otypes=[np.float64])


def name_of(member: object) -> str:
    """Name of a member of an enumeration."""
    return str(member).rpartition(".")[2]


def _wide(array: Array) -> Any:  # noqa: ANN401  numbers of any type
    """Floats in float32 at least."""
    return array.astype(np.float32) if array.dtype.itemsize < 4 and array.dtype.kind not in "biu" else array


_UNARY: Final[dict[str, Callable[[Any], Any]]] = {
    "EXP": np.exp,
    "LOG": np.log,
    "SQRT": np.sqrt,
    "RECIP": lambda x: 1 / x,
    "ABS": np.abs,
    "NEG": lambda x: -x,
    "SIN": np.sin,
    "COS": np.cos,
    "TAN": np.tan,
    "SINH": np.sinh,
    "COSH": np.cosh,
    "ASIN": np.arcsin,
    "ACOS": np.arccos,
    "ATAN": np.arctan,
    "ASINH": np.arcsinh,
    "ACOSH": np.arccosh,
    "ATANH": np.arctanh,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "ERF": _erf,
    "NOT": np.logical_not,
    "SIGN": np.sign,
    "ROUND": np.rint,
    "ISINF": np.isinf,
    "ISNAN": np.isnan,
}


def _unary(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    [x] = given
    op = name_of(item.layer.op)
    found: Array = np.asarray(_UNARY[op](_wide(x)))
    return found if op in ("NOT", "ISINF", "ISNAN") else found.astype(x.dtype)


def _divide(a: Any, b: Any) -> Any:  # noqa: ANN401
    if a.dtype.kind in "iu":
        wide = np.where(b == 0, 1, b)
        return (np.sign(a) * np.sign(wide) * (np.abs(a) // np.abs(wide))).astype(a.dtype)
    return a / b


def _floor_divide(a: Any, b: Any) -> Any:  # noqa: ANN401
    return np.floor_divide(a, np.where(b == 0, 1, b)) if a.dtype.kind in "iu" else np.floor(a / b)


_BINARY: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "SUM": np.add,
    "PROD": np.multiply,
    "MAX": np.maximum,
    "MIN": np.minimum,
    "SUB": np.subtract,
    "DIV": _divide,
    "POW": np.power,
    "FLOOR_DIV": _floor_divide,
    "AND": np.logical_and,
    "OR": np.logical_or,
    "XOR": np.logical_xor,
    "EQUAL": np.equal,
    "GREATER": np.greater,
    "LESS": np.less,
}
_BOOLEAN: Final = ("AND", "OR", "XOR", "EQUAL", "GREATER", "LESS")


def _elementwise(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    a, b = given
    assert a.ndim == b.ndim, f"{item!r}: ranks {a.ndim} and {b.ndim}"
    assert a.dtype == b.dtype, f"{item!r}: types {a.dtype} and {b.dtype}"
    op = name_of(item.layer.op)
    found: Array = np.asarray(_BINARY[op](_wide(a), _wide(b)))
    return found if op in _BOOLEAN else found.astype(a.dtype)


def _activation(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    [x] = given
    layer = item.layer
    alpha, beta = float(layer.alpha), float(layer.beta)
    kind = name_of(layer.type)
    v = _wide(x)
    functions: dict[str, Callable[[], Any]] = {
        "RELU": lambda: np.maximum(v, 0),
        "SIGMOID": lambda: 1 / (1 + np.exp(-v)),
        "TANH": lambda: np.tanh(v),
        "LEAKY_RELU": lambda: np.where(v >= 0, v, alpha * v),
        "ELU": lambda: np.where(v >= 0, v, alpha * (np.exp(np.minimum(v, 0)) - 1)),
        "SELU": lambda: beta * np.where(v >= 0, v, alpha * (np.exp(np.minimum(v, 0)) - 1)),
        "SOFTSIGN": lambda: v / (1 + np.abs(v)),
        "SOFTPLUS": lambda: alpha * np.logaddexp(0, beta * v),
        "CLIP": lambda: np.clip(v, alpha, beta),
        "HARD_SIGMOID": lambda: np.clip(alpha * v + beta, 0, 1),
        "SCALED_TANH": lambda: alpha * np.tanh(beta * v),
        "THRESHOLDED_RELU": lambda: np.where(v > alpha, v, 0),
        "GELU_ERF": lambda: 0.5 * v * (1 + _erf(v / math.sqrt(2))),
        "GELU_TANH": lambda: 0.5 * v * (1 + np.tanh(math.sqrt(2 / math.pi) * (0.044715 * v**3 + v))),
    }
    return np.asarray(functions[kind]()).astype(x.dtype)


def _parametric_relu(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    x, slope = given
    return np.asarray(np.where(x >= 0, x, x * slope).astype(x.dtype))


def _matrix_multiply(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    a, b = given
    ops = [name_of(op) for op in (item.layer.op0, item.layer.op1)]
    dtype = a.dtype
    a, b = _wide(a), _wide(b)
    if ops[0] == "VECTOR":
        a = a[..., None, :]
    if ops[1] == "VECTOR":
        b = b[..., :, None]
    if ops[0] == "TRANSPOSE":
        a = np.swapaxes(a, -1, -2)
    if ops[1] == "TRANSPOSE":
        b = np.swapaxes(b, -1, -2)
    found = np.matmul(a, b)
    if ops[1] == "VECTOR":
        found = found[..., 0]
    if ops[0] == "VECTOR":
        found = found[..., 0] if ops[1] == "VECTOR" else found[..., 0, :]
    return np.asarray(found).astype(dtype)


def _einsum(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    return np.asarray(np.einsum(item.layer.equation, *(_wide(x) for x in given))).astype(given[0].dtype)


def _axes(mask: int, rank: int) -> tuple[int, ...]:
    return tuple(place for place in range(rank) if mask >> place & 1)


def _reduce(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    [x] = given
    op, keep = name_of(item.layer.op), bool(item.layer.keep_dims)
    axes = _axes(int(item.layer.axes), x.ndim)
    functions: dict[str, Callable[..., Any]] = {
        "SUM": np.sum, "PROD": np.prod, "MAX": np.max, "MIN": np.min, "AVG": np.mean
    }  # fmt: skip
    return np.asarray(functions[op](_wide(x), axis=axes, keepdims=keep)).astype(x.dtype)


def _softmax(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    [x] = given
    axes = _axes(int(item.layer.axes), x.ndim)
    v = _wide(x)
    powers = np.exp(v - v.max(axis=axes, keepdims=True))
    return np.asarray(powers / powers.sum(axis=axes, keepdims=True)).astype(x.dtype)


def _cumulative(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    x, axis = given[0], int(given[1])
    v = np.flip(x, axis) if item.layer.reverse else x
    sums = np.cumsum(v, axis, dtype=x.dtype)
    if item.layer.exclusive:
        sums = sums - v
    return np.asarray(np.flip(sums, axis) if item.layer.reverse else sums).astype(x.dtype)


def _scale(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    [x] = given
    layer = item.layer
    mode, axis = name_of(layer.mode), int(layer.channel_axis)
    found = _wide(x)
    shift, factor, power = (np.asarray(weights) for weights in (layer.shift, layer.scale, layer.power))
    shape = {
        "UNIFORM": (),
        "CHANNEL": tuple(-1 if place == axis else 1 for place in range(x.ndim)),
        "ELEMENTWISE": x.shape[axis:],
    }[mode]
    if factor.size:
        found = found * factor.reshape(shape).astype(found.dtype)
    if shift.size:
        found = found + shift.reshape(shape).astype(found.dtype)
    if power.size:
        found = np.power(found, power.reshape(shape).astype(found.dtype))
    return np.asarray(found).astype(x.dtype)


def _normalization(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    x, scale, bias = given
    layer = item.layer
    groups = int(layer.num_groups)
    axes = _axes(int(layer.axes), x.ndim)
    v = x.astype(np.float32)
    if groups != 1:
        v = v.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
        axes = (2, *(axis + 1 for axis in axes if axis > 1))
    mean = v.mean(axis=axes, keepdims=True)
    variance = np.square(v - mean).mean(axis=axes, keepdims=True)
    plain = ((v - mean) / np.sqrt(variance + float(layer.epsilon))).reshape(x.shape)
    return np.asarray(plain * scale.astype(np.float32) + bias.astype(np.float32)).astype(x.dtype)


def _cast(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    [x] = given
    dtype = numpy_dtype(made.api, item.layer.get_output(0).dtype)
    return np.asarray(x).astype(dtype)


def _select(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    condition, a, b = given
    assert condition.ndim == a.ndim == b.ndim, f"{item!r}: ranks differ"
    assert a.dtype == b.dtype, f"{item!r}: types {a.dtype} and {b.dtype}"
    return np.asarray(np.where(condition, a, b))


def _identity(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    return np.asarray(given[0])


KERNELS: Final[dict[str, Any]] = {
    "ACTIVATION": _activation,
    "CAST": _cast,
    "CUMULATIVE": _cumulative,
    "EINSUM": _einsum,
    "ELEMENTWISE": _elementwise,
    "IDENTITY": _identity,
    "MATRIX_MULTIPLY": _matrix_multiply,
    "NORMALIZATION": _normalization,
    "PARAMETRIC_RELU": _parametric_relu,
    "REDUCE": _reduce,
    "SCALE": _scale,
    "SELECT": _select,
    "SOFTMAX": _softmax,
    "UNARY": _unary,
}
