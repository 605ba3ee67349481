"""Generated elementwise nodes: unary, binary with broadcasting, casts, clips, choices; neutral operands are as likely as others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import TensorProto

from graphopt.ir import Array
from tests.generated.numbers import DTYPES, dtype_number, fill, tensor
from tests.generated.scope import Scope

__all__ = ["MOVES", "operand_shape"]

_UNARY = (
    "Abs", "Neg", "Relu", "Sigmoid", "Tanh", "Exp", "Sqrt", "Ceil", "Floor", "Round", "Sign", "Not", "Identity", "Erf", "Softplus",
    "Softsign", "Elu", "LeakyRelu", "Selu", "HardSigmoid", "HardSwish", "Reciprocal", "IsNaN", "IsInf", "Cos", "BitwiseNot", "Gelu",
    "Mish", "ThresholdedRelu", "Celu", "Log", "Swish",
)  # fmt: skip
_CHAINABLE = ("Abs", "Neg", "Relu", "Ceil", "Floor", "Round", "Sign", "Not", "Identity", "BitwiseNot")
_BINARY = (
    "Add", "Sub", "Mul", "Div", "Pow", "Mod", "Min", "Max", "And", "Or", "Xor", "Equal", "Greater", "Less", "GreaterOrEqual",
    "LessOrEqual", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitShift", "PRelu", "Sum", "Mean",
)  # fmt: skip
_ARITHMETIC = ("Add", "Sub", "Mul", "Div")
_NEUTRAL = (0.0, 1.0, -0.0, 2.0, -1.0)


def _anything(array: Array) -> bool:
    return True


def unary(scope: Scope) -> object:
    """One unary operator."""
    rng = scope.world.rng
    op = rng.choice(_CHAINABLE if rng.random() < 0.5 else _UNARY)
    x = scope.pick(_takes(scope, op))
    if x is None or scope.world.schema(op) is None:
        return None
    attributes: dict[str, object] = {}
    schema = scope.world.schema(op)
    for name, attribute in schema.attributes.items() if schema is not None else ():
        if attribute.default_value.type == 1 and rng.random() < 0.5:  # a float
            attributes[name] = rng.choice((0.0, 0.25, 1.0, 1.5, -0.5))
    if op == "IsInf" and rng.random() < 0.5:
        attributes["detect_negative"] = 0
    return scope.one(op, [x], **attributes)


def unary_chain(scope: Scope) -> object:
    """Two operators of a family in a row."""
    rng = scope.world.rng
    x = scope.pick(_anything)
    for _ in range(rng.randint(2, 3)):
        x = scope.one(rng.choice(_CHAINABLE), [x]) if x else None
    return x


def _takes(scope: Scope, op: str) -> Callable[[Array], bool]:
    schema = scope.world.schema(op)
    if schema is None or not schema.inputs:
        return lambda array: False
    names = schema.inputs[0].types
    return lambda array: f"tensor({TensorProto.DataType.Name(dtype_number(array)).lower()})" in names


def operand_shape(scope: Scope, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that broadcasts with another: the same, some sizes 1, shorter, or larger."""
    rng = scope.world.rng
    sizes = [1 if rng.random() < 0.4 else size for size in shape]
    choice = rng.random()
    if choice < 0.3:
        return tuple(shape)
    if choice < 0.5:
        return ()
    if choice < 0.75 and sizes:
        return tuple(sizes[rng.randint(0, len(sizes)) :])
    if choice < 0.85:
        return (1, *sizes)
    if choice < 0.93:
        return tuple(rng.choice((1, 2, 3)) if size == 1 else size for size in sizes)
    return tuple(sizes)


def _constant_operand(scope: Scope, like: Array) -> Array:
    rng = scope.world.rng
    shape, number = operand_shape(scope, like.shape), dtype_number(like)
    if number != TensorProto.STRING and rng.random() < 0.5:
        what = rng.choice(_NEUTRAL)
        return fill(number, shape, abs(what) if like.dtype.kind == "u" else what)
    return tensor(rng, number, shape, wild=scope.world.wild)


def _divides_safely(array: Array) -> bool:
    """Division by zero, and of the smallest integer by -1, ends the process."""
    return bool(
        array.dtype.kind not in "iu"
        or not ((array == 0) | (array == array.dtype.type(-1) if array.dtype.kind == "i" else array == 0)).any()
    )


def binary(scope: Scope) -> object:
    """One binary operator, with a constant or another value, on either side."""
    rng = scope.world.rng
    op = rng.choice(_ARITHMETIC if rng.random() < 0.5 else _BINARY)
    x = scope.pick(_takes(scope, op))
    if x is None:
        return None
    return _apply(scope, op, x)


def _apply(scope: Scope, op: str, x: str) -> str | None:
    rng = scope.world.rng
    like = scope.arrays[x]
    integers = like.dtype.kind in "iu"
    other: str | None
    if rng.random() < 0.6 or (op in ("Div", "Mod") and integers):
        constant = _constant_operand(scope, like)
        if op in ("Div", "Mod") and integers:
            constant = np.where(
                constant == 0,
                3,
                np.where(constant == constant.dtype.type(-1), 2, constant) if like.dtype.kind == "i" else constant,
            ).astype(like.dtype)
        if op == "BitShift":
            constant = np.asarray(constant % 4).astype(like.dtype)
        if op == "Pow" and rng.random() < 0.5:
            constant = fill(
                rng.choice((TensorProto.FLOAT, TensorProto.INT64)), constant.shape, rng.choice((1.0, 2.0, 0.5))
            )
        other = scope.constant(constant)
    else:
        other = scope.pick(lambda a: a.dtype == like.dtype and _compatible(a.shape, like.shape), recent=0.2)
    if other is None:
        return None
    attributes: dict[str, object] = {}
    if op == "Mod" and (not integers or rng.random() < 0.3):
        attributes["fmod"] = 1
    if op == "BitShift":
        attributes["direction"] = rng.choice(("LEFT", "RIGHT"))
    swapped = rng.random() < 0.35 and op not in ("Div", "Mod", "BitShift", "PRelu")
    if op == "Div" and not integers and rng.random() < 0.3:
        swapped = True
    if op == "PRelu" and scope.arrays[other].ndim > like.ndim:
        return None  # ONNX Runtime takes it, the specification does not
    inputs = [other, x] if swapped else [x, other]
    if op in ("Sum", "Mean", "Max", "Min") and rng.random() < 0.4:
        inputs = rng.choice(([x], [x, x], [x, other, x]))
    return scope.one(op, inputs, **attributes)


def _compatible(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return all(p == q or 1 in (p, q) for p, q in zip(reversed(a), reversed(b), strict=False))


def constant_chain(scope: Scope) -> object:
    """Additions or multiplications of constants in a row."""
    rng = scope.world.rng
    ops = rng.choice((("Add", "Sub"), ("Mul", "Div"), ("Mul",), ("Add",)))
    x = scope.pick(lambda a: a.dtype.kind in "iuf")
    for _ in range(rng.randint(2, 3)):
        x = _apply(scope, rng.choice(ops), x) if x else None
    return x


def same_operands(scope: Scope) -> object:
    """Both operands are one value."""
    op = scope.world.rng.choice(("Add", "Mul", "Sub", "And", "Or", "Xor", "Min", "Max", "Equal", "BitwiseAnd"))
    x = scope.pick(_takes(scope, op))
    return None if x is None else scope.one(op, [x, x])


def cast(scope: Scope) -> object:
    """One Cast, or several in a row."""
    rng = scope.world.rng
    x = scope.pick(lambda a: a.dtype != object)
    for _ in range(rng.randint(1, 3)):
        if x is None:
            return None
        to = rng.choice([number for number in DTYPES if number != TensorProto.STRING])
        like = scope.pick(_of_type(to)) if rng.random() < 0.15 and scope.world.schema("CastLike") else None
        x = scope.one("Cast", [x], to=to) if like is None else scope.one("CastLike", [x, like])
    return x


def _of_type(number: int) -> Callable[[Array], bool]:
    return lambda array: dtype_number(array) == number


def clip(scope: Scope) -> object:
    """Clip and Relu, alone or in a row."""
    rng = scope.world.rng
    x = scope.pick(lambda a: a.dtype.kind in "iuf")
    for _ in range(rng.randint(1, 3)):
        if x is None:
            return None
        if rng.random() < 0.3:
            x = scope.one("Relu", [x]) or x
            continue
        number = scope.dtype(x)
        bounds = [rng.choice((None, 0.0, 6.0, -1.0, 1.0, 3.0, -0.0, -3.0)) for _ in range(2)]
        if scope.world.wild and rng.random() < 0.2:
            bounds[rng.randint(0, 1)] = rng.choice((float("inf"), float("-inf"), float("nan")))
        if rng.random() < 0.7 and None not in bounds:
            bounds.sort(key=lambda b: b or 0.0)
        if scope.world.has_attribute("Clip", "min"):
            x = scope.one("Clip", [x], min=bounds[0], max=bounds[1])
            continue
        if scope.arrays[x].dtype.kind in "iu":
            bounds = [
                None if b is None or not np.isfinite(b) or (b < 0 and scope.arrays[x].dtype.kind == "u") else b
                for b in bounds
            ]
        x = scope.one("Clip", [x, *[None if b is None else scope.constant(fill(number, (), b)) for b in bounds]])
    return x


def where(scope: Scope) -> object:
    """A choice by a computed or constant condition."""
    rng = scope.world.rng
    x = scope.pick(_anything)
    if x is None:
        return None
    like = scope.arrays[x]
    other = x if rng.random() < 0.2 else scope.constant(_constant_operand(scope, like))
    shape = operand_shape(scope, like.shape)
    condition = (
        scope.pick(lambda a: a.dtype == np.bool_ and _compatible(a.shape, like.shape)) if rng.random() < 0.5 else None
    )
    if condition is None:
        condition = scope.constant(
            np.full(shape, rng.random() < 0.5)
            if rng.random() < 0.6
            else tensor(rng, TensorProto.BOOL, shape, wild=False)
        )
    return scope.one("Where", [condition, *([x, other] if rng.random() < 0.5 else [other, x])])


MOVES: dict[Callable[[Scope], object], int] = {
    unary: 5,
    unary_chain: 3,
    binary: 8,
    constant_chain: 4,
    same_operands: 1,
    cast: 4,
    clip: 3,
    where: 3,
}
