"""Nodes that compute element by element: unary, binary with broadcasting, any number of operands, casts, clips, choices."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from graphopt.ir import Array, AttributeKind, DType
from graphopt.testing.strategies.arrays import draw_array
from graphopt.testing.strategies.ask import Ask
from graphopt.testing.strategies.element_types import FLOATS, WEIGHTS
from graphopt.testing.strategies.sampler import SamplerTable, spread
from graphopt.testing.strategies.scope import dtype_of

__all__ = ["TABLE"]

TABLE = SamplerTable()
_FLOATS = (0.0, 1.0, 0.25, -0.5, 1.5)


@TABLE(
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Ceil", "Celu", "Cos", "Cosh", "Elu", "Erf", "Exp", "Floor",
    "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu",
    "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh",
    "ThresholdedRelu",
    keeps=True,
)  # fmt: skip
def unary(ask: Ask) -> None:
    """One operand; attributes of any numbers."""
    ask.data()
    for name, spec in ask.schema.attributes.items():
        if not ask.choices.chance(0.5):
            continue
        if spec.kind is AttributeKind.FLOAT:
            ask.set(**{name: ask.choices.of(_FLOATS if ask.op != "Celu" else _FLOATS[1:3])})
        elif spec.kind is AttributeKind.INT:
            ask.set(**{name: ask.choices.of((0, 1))})
        elif name == "approximate":
            ask.set(approximate=ask.choices.of(("none", "tanh")))


@TABLE(
    "Add", "Sub", "Mul", "Div", "Pow", "Mod", "And", "Or", "Xor", "Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual",
    "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitShift", "PRelu", keeps=True,
)  # fmt: skip
def binary(ask: Ask) -> None:
    """Two operands that broadcast; either may be given, and the second one is often constant."""
    if ask.op == "BitShift":
        ask.set(direction=ask.choices.of(("LEFT", "RIGHT")))
    first = 1 if 1 in ask.given and 0 not in ask.given and ask.op != "PRelu" else 0
    array = ask.data(first)
    if ask.op == "Mod" and (dtype_of(array) in FLOATS or ask.choices.chance(0.2)):
        ask.set(fmod=1)
    other = 1 - first
    one_way = ask.op == "PRelu"

    def fits(candidate: Array) -> bool:
        return broadcasts(array, candidate, one_way=one_way)

    if other in ask.given:
        ask.data(other, fits=fits)
        return
    if other not in ask.forms and ask.choices.chance(0.5):
        name = ask.scope.pick(lambda candidate: dtype_of(candidate) in ask.dtypes(other) and fits(candidate))
        if name is not None:
            ask.inputs[other] = name
            return
    shape = spread(ask, array.shape)
    shape = shape[-array.ndim :] if one_way and array.ndim else () if one_way else shape
    dtype = ask.dtype(other)
    numbers = ask.drawn(dtype, shape)
    if ask.op in ("Div", "Mod") and dtype.is_integer:
        numbers = np.where(numbers == 0, np.ones_like(numbers), numbers)
    if ask.op == "BitShift":
        numbers = numbers % 4
    ask.need(other, np.asarray(numbers, dtype.numpy), "weight")


def broadcasts(a: Array, b: Array, *, one_way: bool = False) -> bool:
    """Whether two arrays broadcast, and if ``one_way`` to the shape of the first one."""
    try:
        result = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        return False
    return result == a.shape if one_way else len(result) < 6


def _is_operand(like: Array, dtype: DType, other: Array) -> bool:
    return dtype_of(other) is dtype and broadcasts(like, other)


def _always(shape: tuple[int, ...]) -> Callable[[int], tuple[int, ...]]:
    return lambda _rank: shape


@TABLE("Sum", "Mean", "Max", "Min", keeps=True)
def variadic(ask: Ask) -> None:
    """One to four operands that broadcast."""
    arrays: list[Array] = []
    for index in range(ask.count((2, 1, 3, 4))):
        shape = () if not arrays else spread(ask, arrays[0].shape)

        def fits(candidate: Array) -> bool:
            return all(broadcasts(array, candidate) for array in arrays)

        if index in ask.given or (index not in ask.forms and (not arrays or ask.choices.chance(0.6))):
            arrays.append(ask.data(index, fits=fits, shape=_always(shape) if arrays else None))
        else:
            array = ask.drawn(ask.dtype(index), shape if arrays else (2,))
            if not fits(array):
                raise ask.refuse("a drawn operand does not broadcast")
            arrays.append(ask.need(index, array, "weight"))


@TABLE("Where", keeps=True)
def where(ask: Ask) -> None:
    """A condition and two operands that broadcast."""
    if {1, 2} & set(ask.given):
        first = min({1, 2} & set(ask.given))
        array = ask.data(first)
    else:
        first, array = 1, ask.data(1, ranks=ask.wish.ranks, dtypes=ask.wish.dtypes)
    for index in (3 - first, 0):
        if index in ask.given:
            ask.data(index, fits=lambda other: broadcasts(array, other))
            continue
        dtype = ask.dtype(index)
        name = None
        if index not in ask.forms and ask.choices.chance(0.4):
            name = ask.scope.pick(partial(_is_operand, array, dtype))
        if name is not None:
            ask.inputs[index] = name
        else:
            ask.need(index, ask.drawn(dtype, spread(ask, array.shape)), "weight")


@TABLE("Clip", keeps=True)
def clip(ask: Ask) -> None:
    """Bounds as the opset spells them; either may be absent."""
    array = ask.data()
    low, high = sorted((ask.choices.integer(-3, 3), ask.choices.integer(-3, 6)))
    if not ask.has_input(1):
        ask.set(
            min=float(low) if ask.choices.chance(0.7) else None, max=float(high) if ask.choices.chance(0.7) else None
        )
        return
    for index, number in ((1, low), (2, high)):
        if ask.wants_optional(index, 0.7):
            dtype = dtype_of(array)
            ask.need(index, np.array(max(number, 0) if not dtype.is_signed else number).astype(dtype.numpy), "weight")


@TABLE("Cast", keeps=True)
def cast(ask: Ask) -> None:
    """To any element type that there is a way to."""
    array = ask.data(wished=False)
    words = dtype_of(array) is DType.STRING
    options = [dtype for dtype in WEIGHTS if not (words and dtype is not DType.STRING) and dtype is not DType.BFLOAT16]
    wanted = ask.wish.dtypes
    ask.set(to=int(ask.choices.of([dtype for dtype in options if wanted is None or dtype in wanted] or options)))
    if ask.choices.chance(0.1):
        ask.set(saturate=0)


@TABLE("CastLike", keeps=True)
def cast_like(ask: Ask) -> None:
    """To the element type of another operand."""
    ask.data(0, dtypes=set(WEIGHTS) - {DType.STRING}, wished=False)
    dtype = ask.dtype(1, {DType.FLOAT, DType.INT64, DType.INT32, DType.DOUBLE, DType.BOOL})
    if 1 in ask.given:
        ask.data(1)
    else:
        ask.need(1, draw_array(ask.choices, dtype, spread(ask, (2,))), "weight")


@TABLE("BitCast", keeps=True)
def bit_cast(ask: Ask) -> None:
    """To an element type of the same width."""
    array = ask.data(0, dtypes=[dtype for dtype in WEIGHTS if dtype not in (DType.BOOL, DType.STRING)])
    bits = dtype_of(array).bits
    ask.set(to=int(ask.choices.of([dtype for dtype in WEIGHTS if dtype.bits == bits and dtype is not DType.BOOL])))


@TABLE("Dropout", keeps=True)
def dropout(ask: Ask) -> list[bool]:
    """In its inference form, with a mask now and then."""
    ask.data(0)
    if ask.has_input(1):
        if ask.wants_optional(1, 0.4):
            ask.need(1, np.array(0.25).astype(ask.dtype(1, {DType.FLOAT}).numpy), "weight")
        if ask.wants_optional(2, 0.4):
            ask.need(2, np.array(False), "constant")
    elif ask.choices.chance(0.5):
        ask.set(ratio=ask.choices.of((0.0, 0.5)))
    return [True, ask.choices.chance(0.2)]
