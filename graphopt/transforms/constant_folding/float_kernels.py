"""Float operators in numpy whose result is the same on every machine: IEEE 754 rounds each of them in one way only.

Sums, products, quotients and square roots of float32 and float64 are correctly rounded wherever they are computed, and so are conversions
between these types; signs, floors and ceilings are not rounded at all. Of powers those are taken that are float32 numbers themselves,
which no library misses. All else (exponentials, sums of many) is left to the runtime whose kernels would run it. This spares the start of
a runtime where a model computes a scale or two.

Numerics: exact, NaN payloads apart. Source: IEEE 754-2019, sections 5.4 and 5.9.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from graphopt.ir import Array, DType, Node
from graphopt.transforms.constant_folding.movement_kernels import Inputs, Kernel, Results

__all__ = ["FLOAT_KERNELS"]

_TYPES = frozenset({np.dtype(np.float32), np.dtype(np.float64)})
_FEW_POWERS, _LARGEST_POWER = 16, 32
_INTEGERS = {DType.INT32: 2.0**31, DType.INT64: 2.0**63}


def _binary(function: Callable[[Array, Array], Array]) -> Kernel:
    def kernel(node: Node, inputs: Inputs, limit: int) -> Results:
        a, b = inputs
        if a is None or b is None or a.dtype != b.dtype or a.dtype not in _TYPES or node.attributes:
            return None  # before opset 7 attributes said how to broadcast
        if math.prod(np.broadcast_shapes(a.shape, b.shape)) > limit:
            return None
        with np.errstate(all="ignore"):
            return [np.asarray(function(a, b))]

    return kernel


def _unary(function: Callable[[Array], Array]) -> Kernel:
    def kernel(node: Node, inputs: Inputs, limit: int) -> Results:
        x = inputs[0]
        if x is None or x.dtype not in _TYPES:
            return None
        with np.errstate(all="ignore"):
            return [np.asarray(function(x))]

    return kernel


def _cast(node: Node, inputs: Inputs, limit: int) -> Results:
    """To the other float type and to truth values; to integers where each number is one of theirs, cut, for all else is undefined."""
    x, to = inputs[0], node.attr("to")
    if x is None or x.dtype not in _TYPES or not isinstance(to, int):
        return None
    wanted = DType(to)
    with np.errstate(all="ignore"):
        if wanted in (DType.FLOAT, DType.DOUBLE, DType.BOOL):
            return [x.astype(wanted.numpy)]
        bound = _INTEGERS.get(wanted)
        if bound is None or not (np.abs(x) < bound).all():
            return None
        return [x.astype(wanted.numpy)]


def _power(node: Node, inputs: Inputs, limit: int) -> Results:
    """Powers of one exponent, a whole or half number, that need no rounding."""
    x, exponent = inputs
    if x is None or exponent is None or {x.dtype, exponent.dtype} != {np.dtype(np.float32)} or node.attributes:
        return None
    if exponent.size != 1 or exponent.ndim > x.ndim or not 0 < x.size <= _FEW_POWERS:
        return None
    power = Fraction(float(exponent.reshape(-1)[0])) if np.isfinite(exponent).all() else None
    bases = x.astype(np.float64)
    if (
        power is None
        or abs(power) > _LARGEST_POWER
        or power.denominator > 2
        or not (np.isfinite(bases) & (bases > 0)).all()
    ):
        return None
    with np.errstate(all="ignore"):
        found = np.asarray(bases ** float(power)).astype(np.float32)
    exact = [
        Fraction(float(base)) ** power.numerator == Fraction(float(result)) ** power.denominator
        for base, result in zip(bases.reshape(-1), found.reshape(-1), strict=True)
        if np.isfinite(result)
    ]
    return [found] if len(exact) == x.size and all(exact) else None


FLOAT_KERNELS: dict[str, Kernel] = {
    "Abs": _unary(np.abs),
    "Add": _binary(np.add),
    "Cast": _cast,
    "Ceil": _unary(np.ceil),
    "Div": _binary(np.divide),
    "Floor": _unary(np.floor),
    "Mul": _binary(np.multiply),
    "Neg": _unary(np.negative),
    "Pow": _power,
    "Sqrt": _unary(np.sqrt),
    "Sub": _binary(np.subtract),
}
