"""Blocks of networks as exporters spell them: convolution, normalization and activation, quantized pieces, attention, gates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from graphopt.ir import DType
from graphopt.testing.strategies.arrays import draw_array
from graphopt.testing.strategies.ask import Wish
from graphopt.testing.strategies.growth import add_node
from graphopt.testing.strategies.scope import RefusedError, Scope, dtype_of

__all__ = ["MOTIFS"]

_FLOAT = frozenset({DType.FLOAT})
_IMAGE = Wish((3, 5), _FLOAT)
_MATRIX = Wish((2, 4), _FLOAT)


def _number(scope: Scope, number: float, like: str) -> str:
    return scope.constant(np.array(number).astype(scope.arrays[like].dtype))


def linear_block(scope: Scope) -> None:
    """Pad, a linear operator, BatchNormalization or arithmetic per channel, an activation; each may be missing."""
    choices = scope.choices
    op = choices.of(("Conv", "Gemm", "MatMul", "ConvTranspose"))
    wish = _IMAGE if op.startswith("Conv") else _MATRIX
    given: dict[int, str] = {}
    if choices.chance(0.3):
        before = choices.of(("Pad", "Mul", "Transpose"))
        given = {0: add_node(scope, before, wish=wish)[0]}
    y = add_node(scope, op, given=given, wish=wish)[0]
    axis = 1 if op.startswith("Conv") else -1
    if choices.chance(0.7):
        y = _per_channel(scope, y, axis)
    if choices.chance(0.5):
        activation(scope, y)


def _per_channel(scope: Scope, y: str, axis: int) -> str:
    choices = scope.choices
    like = scope.arrays[y]
    if like.ndim > 1 and choices.chance(0.5):
        return add_node(scope, "BatchNormalization", given={0: y})[0]
    if not like.ndim:
        raise RefusedError("no channels")
    shape = [1] * like.ndim
    shape[axis] = like.shape[axis]
    trimmed = shape[axis:] if choices.chance(0.6) else shape
    constant = scope.constant(draw_array(choices, dtype_of(like), trimmed if choices.chance(0.85) else ()))
    op = choices.of(("Add", "Mul", "Sub", "Div"))
    operands = [y, constant] if op in ("Sub", "Div") or choices.chance(0.7) else [constant, y]
    return scope.one(op, operands)


def activation(scope: Scope, x: str | None = None) -> None:
    """An activation, often spelt out in several nodes."""
    choices = scope.choices
    x = x or scope.pick(lambda a: a.dtype == np.float32) or scope.input(draw_array(choices, DType.FLOAT, (2, 3)))
    if x is None:
        raise RefusedError("no floats")
    form = choices.integer(0, 5)
    if form == 0:
        add_node(
            scope, choices.of(("Relu", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid", "Clip", "Elu")), given={0: x}
        )
    elif form == 1:
        scope.one("Mul", [x, scope.one("Sigmoid", [x])])
    elif form == 2:
        shifted = scope.one("Add", [x, _number(scope, 3, x)])
        clipped = add_node(scope, "Clip", given={0: shifted})[0]
        scope.one("Div", [scope.one("Mul", [x, clipped]), _number(scope, 6, x)])
    elif form == 3 and scope.world.opset >= 9:
        inner = scope.one("Erf", [scope.one("Div", [x, _number(scope, 2**0.5, x)])])
        half = scope.one("Mul", [x, scope.one("Add", [inner, _number(scope, 1, x)])])
        scope.one("Mul", [half, _number(scope, 0.5, x)])
    elif form == 4:
        scope.one("Relu", [scope.one("Relu", [x])])
    else:
        scope.one("Mul", [x, scope.one("Tanh", [scope.one("Softplus", [x])])])


def spelt_normalization(scope: Scope) -> None:
    """LayerNormalization or its root-mean-square form, in single steps."""
    choices, world = scope.choices, scope.world
    x = scope.pick(lambda a: a.dtype == np.float32 and a.ndim > 0 and a.size > 0)
    x = x or scope.input(draw_array(choices, DType.FLOAT, (2, 4)))
    if x is None:
        raise RefusedError("no floats")

    def mean(of: str) -> str:
        if world.has_attribute("ReduceMean", "axes"):
            return scope.one("ReduceMean", [of], axes=[-1])
        return scope.one("ReduceMean", [of, scope.constant(np.array([-1], np.int64))])

    centred = scope.one("Sub", [x, mean(x)]) if choices.chance(0.6) else x
    square = (
        scope.one("Pow", [centred, _number(scope, 2, x)])
        if choices.chance(0.6)
        else scope.one("Mul", [centred, centred])
    )
    root = scope.one("Sqrt", [scope.one("Add", [mean(square), _number(scope, choices.of((1e-5, 0.1)), x)])])
    y = (
        scope.one("Div", [centred, root])
        if choices.chance(0.7)
        else scope.one("Mul", [centred, scope.one("Reciprocal", [root])])
    )
    scope.one("Mul", [y, scope.constant(draw_array(choices, DType.FLOAT, scope.arrays[x].shape[-1:]))])


def quantized_block(scope: Scope) -> None:
    """Quantize and dequantize around an operator, with quantized weights now and then, as QDQ models have it."""
    choices = scope.choices
    if scope.world.opset < 10:
        raise RefusedError("no quantization yet")
    x = scope.pick(lambda a: a.dtype == np.float32 and a.size > 0) or scope.input(
        draw_array(choices, DType.FLOAT, (2, 3))
    )
    if x is None:
        raise RefusedError("no floats")
    y = _quantized(scope, x)
    form = choices.integer(0, 3)
    if form == 1 and scope.arrays[y].ndim in (2, 3):
        weights = scope.constant(draw_array(choices, DType.INT8, (scope.arrays[y].shape[-1], 2)))
        scale, zero = _number(scope, 0.125, x), scope.constant(np.array(0, np.int8))
        y = scope.one("MatMul", [y, scope.one("DequantizeLinear", [weights, scale, zero])])
    elif form == 2:
        y = add_node(scope, choices.of(("Relu", "Reshape", "Transpose", "MaxPool", "Add")), given={0: y})[0]
    _quantized(scope, y)


def _quantized(scope: Scope, x: str) -> str:
    choices = scope.choices
    kind = choices.of((np.uint8, np.int8))
    scale = _number(scope, choices.of((0.125, 0.25, 0.1)), x)
    zero = scope.constant(np.array(choices.of((0, 3)), kind))
    q = scope.one("QuantizeLinear", [x, scale, zero])
    if choices.chance(0.15):
        scale = _number(scope, 0.5, x)
    return scope.one("DequantizeLinear", [q, scale, zero])


def attention_block(scope: Scope) -> None:
    """Products of queries and keys, scaled, softmax, values; packed projections now and then."""
    choices = scope.choices
    x = scope.pick(lambda a: a.dtype == np.float32 and a.ndim == 3 and a.size > 0)
    x = x or scope.input(draw_array(choices, DType.FLOAT, (1, 3, 2)))
    if x is None:
        raise RefusedError("no sequence")
    width = scope.arrays[x].shape[-1]
    parts = [scope.one("MatMul", [x, scope.constant(draw_array(choices, DType.FLOAT, (width, 2)))]) for _ in range(3)]
    keys = scope.one("Transpose", [parts[1]], perm=[0, 2, 1])
    scores = scope.one(choices.of(("Div", "Mul")), [scope.one("MatMul", [parts[0], keys]), _number(scope, 2.0, x)])
    scope.one("MatMul", [scope.one("Softmax", [scores], axis=-1 if scope.world.opset >= 11 else 2), parts[2]])


MOTIFS: list[tuple[Callable[[Scope], object], int]] = [
    (linear_block, 5),
    (activation, 2),
    (spelt_normalization, 1),
    (quantized_block, 2),
    (attention_block, 1),
]
